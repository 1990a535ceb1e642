// How a camera was held.
#pragma once

#include <cstddef>
#include <cstdint>

#include "image_file.hpp"

// The orientation in EXIF data (a TIFF file, without "Exif\0\0" in front), 1 to 8. 1: upright, or it is not said.
int orientation_of(const std::uint8_t* data, std::size_t size);
// The picture as it was seen.
Picture upright(const Picture& picture, int orientation);
