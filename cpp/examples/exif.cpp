#include "exif.hpp"

#include <algorithm>
#include <cstring>

namespace {

// Numbers of a TIFF file, in its order of bytes. Beyond the end they are 0.
class Reader {
  public:
    Reader(const std::uint8_t* data, std::size_t size)
        : data_(data), size_(size), little_(size > 0 && data[0] == 'I') {}

    std::uint32_t number(std::size_t at, std::size_t bytes) const {
        if (at > size_ || size_ - at < bytes) return 0;
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | data_[at + (little_ ? bytes - 1 - i : i)];
        return value;
    }

  private:
    const std::uint8_t* data_;
    std::size_t size_;
    bool little_;
};

}  // namespace

int orientation_of(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint32_t orientation = 0x0112, whole_number = 3;
    if (size < 8 || (std::memcmp(data, "II*\0", 4) != 0 && std::memcmp(data, "MM\0*", 4) != 0)) return 1;
    const Reader file(data, size);
    const std::size_t directory = file.number(4, 4);
    const std::uint32_t entries = file.number(directory, 2);
    for (std::uint32_t i = 0; i < entries; ++i) {
        const std::size_t entry = directory + 2 + 12 * std::size_t{i};
        if (file.number(entry, 2) != orientation) continue;
        const std::uint32_t value = file.number(entry + 2, 2) == whole_number ? file.number(entry + 8, 2) : 1;
        return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
    return 1;
}

Picture upright(const Picture& picture, int orientation) {
    if (orientation <= 1 || orientation > 8) return picture;
    const bool turned = orientation >= 5;
    // Where the first row and the first column of the file are seen.
    const bool bottom = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    const bool right = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    Picture seen{turned ? picture.height : picture.width, turned ? picture.width : picture.height, {}};
    seen.rgb.resize(picture.rgb.size());
    for (int y = 0; y < seen.height; ++y) {
        for (int x = 0; x < seen.width; ++x) {
            const int down = bottom ? seen.height - 1 - y : y, across = right ? seen.width - 1 - x : x;
            std::copy_n(turned ? picture.at(down, across) : picture.at(across, down), 3, seen.at(x, y));
        }
    }
    return seen;
}
