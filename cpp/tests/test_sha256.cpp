#include "check.hpp"
#include "files/sha256.hpp"

// Digests of FIPS 180-4 and of its examples.
int main() {
    CHECK_EQUAL(odise::sha256_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK_EQUAL(odise::sha256_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_EQUAL(odise::sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    // However a text is cut into parts.
    const std::string million(1000000, 'a');
    for (const std::size_t part : {1UL, 63UL, 64UL, 65UL, 1000000UL}) {
        odise::Sha256 digest;
        for (std::size_t at = 0; at < million.size(); at += part) {
            digest.add(million.data() + at, std::min(part, million.size() - at));
        }
        CHECK_EQUAL(digest.hex(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
    return failures > 0;
}
