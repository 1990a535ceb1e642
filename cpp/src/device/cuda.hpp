#pragma once

#include "device.hpp"

namespace odise {

// Opens a GPU through CUDA's runtime. Throws BackendError: there is no such GPU, or no driver for it.
std::shared_ptr<Device> open_cuda(int index);

}  // namespace odise
