// A picture with its segments coloured and named.
#pragma once

#include <odise_trt.hpp>

#include "image_file.hpp"

// Colours belong to categories, as in the pictures of `odise-trt run`. Pictures under 640 pixels are enlarged.
Picture draw_overlay(const Picture& photo, const odise::Result& result);
