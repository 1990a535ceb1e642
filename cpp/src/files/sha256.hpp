// SHA-256 (FIPS 180-4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace odise {

class Sha256 {
  public:
    void add(const void* data, std::size_t size);
    // The digest in hexadecimal. Nothing can be added after it.
    std::string hex();

  private:
    using Compress = void (*)(std::uint32_t* state, const unsigned char* blocks, std::size_t count);
    static Compress fastest();

    Compress compress_ = fastest();
    std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                           0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<unsigned char, 64> rest_{};
    std::size_t held_ = 0;
    std::uint64_t bytes_ = 0;
};

std::string sha256_of(std::string_view text);

}  // namespace odise
