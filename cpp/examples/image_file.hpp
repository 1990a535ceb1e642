// Pictures from files and to files: JPEG and PNG where libjpeg and libpng were found, and PPM always.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct Picture {
    int width = 0, height = 0;
    std::vector<std::uint8_t> rgb;  // 3 bytes for each pixel, row by row

    const std::uint8_t* at(int x, int y) const {
        return &rgb[3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x))];
    }
    std::uint8_t* at(int x, int y) {
        return &rgb[3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x))];
    }
};

// The format is that of the content. It is turned as its EXIF data says. Throws std::runtime_error.
Picture read_picture(const std::string& path);
// The format is that of the name: .png or .ppm. Throws std::runtime_error.
void write_picture(const std::string& path, const Picture& picture);
