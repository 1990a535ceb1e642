// Names on pictures, in a font of 5 x 7 dots.
#pragma once

#include <string>

#include "image_file.hpp"

// Width and height of a text in pixels. A dot has `scale` x `scale` of them.
int text_width(const std::string& text, int scale);
int text_height(int scale);
// Draws printable ASCII; "?" for anything else. What is outside of the picture is left out.
void draw_text(Picture& picture, const std::string& text, int left, int top, int scale, const std::uint8_t* color);
