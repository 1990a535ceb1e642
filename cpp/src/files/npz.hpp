// Reads the .npz files that numpy.savez writes: ZIP archives of .npy files that are not compressed.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

#include "array.hpp"

namespace odise {

struct NpzError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Views of an archive in memory, which must outlive it. Every method throws NpzError.
class Npz {
  public:
    // Finds the entries. Each is checked against its CRC-32 when it is read.
    explicit Npz(std::string_view content);

    // An entry of float32, float16, int64, int32, uint8 or bool (as uint8), in C order.
    Array array(const std::string& name) const;
    // An entry that is one text.
    std::string text(const std::string& name) const;

  private:
    struct Entry {
        std::string_view bytes;
        std::uint32_t crc;
    };
    std::map<std::string, Entry> entries_;

    std::string_view entry(const std::string& name) const;
};

// The content of a .npy file: what its header says, and the numbers.
struct Npy {
    std::string descr;
    Shape shape;
    std::string_view numbers;

    static Npy read(std::string_view content);
};

std::uint32_t crc32(std::string_view bytes);

}  // namespace odise
