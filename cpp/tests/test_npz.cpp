#include "check.hpp"
#include "files/npz.hpp"

using odise::Npz;

namespace {

std::string little(std::uint64_t value, int size) {
    std::string bytes;
    for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
    return bytes;
}

std::string npy(const std::string& header, const std::string& numbers) {
    return "\x93NUMPY" + little(1, 1) + little(0, 1) + little(header.size(), 2) + header + numbers;
}

// A ZIP archive of one entry that is not compressed.
std::string zip(const std::string& name, const std::string& content, std::uint64_t method = 0) {
    const std::string sizes = little(odise::crc32(content), 4) + little(content.size(), 4) + little(content.size(), 4) +
                              little(name.size(), 2) + little(0, 2);
    const std::string local = std::string("PK\x03\x04") + little(20, 2) + little(0, 2) + little(method, 2) +
                              little(0, 4) + sizes + name + content;
    const std::string central = std::string("PK\x01\x02") + little(20, 4) + little(0, 2) + little(method, 2) +
                                little(0, 4) + sizes + little(0, 2) + little(0, 8) + little(0, 4) + name;
    return local + central + std::string("PK\x05\x06") + little(0, 4) + little(1, 2) + little(1, 2) +
           little(central.size(), 4) + little(local.size(), 4) + little(0, 2);
}

const std::string good =
    npy("{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }\n", little(7, 4) + little(9, 4));

}  // namespace

int main() {
    CHECK_EQUAL(odise::crc32("123456789"), 0xCBF43926U);
    const std::string archive = zip("a.npy", good);
    const odise::Array array = Npz(archive).array("a");
    CHECK_EQUAL(array.as<std::int32_t>()[1], 9);
    CHECK_EQUAL(WORDS_OF(Npz(archive).array("b")), "it has no b");

    // Wherever it is cut off, that is said, and nothing is read behind the end.
    for (std::size_t size = 0; size < archive.size(); ++size) {
        const std::string part = archive.substr(0, size);
        CHECK(WORDS_OF(Npz(part).array("a")) != "nothing was thrown");
    }
    // A changed byte of the numbers is found.
    std::string changed = archive;
    changed[archive.find("\x07")] = 8;
    CHECK_EQUAL(WORDS_OF(Npz(changed).array("a")), "a was changed");
    // Whatever single byte is changed, nothing worse than an error happens.
    for (std::size_t i = 0; i < archive.size(); ++i) {
        for (const char value : {'\0', '\x7F', '\xFF'}) {
            std::string other = archive;
            other[i] = value;
            WORDS_OF(Npz(other).array("a"));
        }
    }
    const auto words = [](const std::string& header) {
        const std::string one = zip("a.npy", npy(header, std::string(8, '\0')));
        return WORDS_OF(Npz(one).array("a"));
    };
    CHECK_EQUAL(words("{'descr': '<i4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }"),
                "a is cut off");
    CHECK_EQUAL(words("{'descr': '<i4', 'fortran_order': False, 'shape': (0, 3), }"), "a is cut off");
    CHECK_EQUAL(words("{'descr': '<i4', 'fortran_order': True, 'shape': (2,), }"), "an array is in Fortran order");
    CHECK_EQUAL(words("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }"), "a is '|O', which is not read");
    CHECK_EQUAL(words("{}"), "the header of an array is damaged");
    CHECK_EQUAL(WORDS_OF(Npz(zip("a.npy", good, 8)).array("a")), "a.npy is compressed; write it with numpy.savez");
    return failures > 0;
}
