// The library of its own that the stand-in reads graphs with, as TensorRT has one: it is loaded when it is needed.
#include "onnx_file.hpp"

// Gives the names of the weights in an ONNX file. 0: it cannot be read.
extern "C" __attribute__((visibility("default"))) int odise_stand_in_initializers(
    const char* path, void (*take)(void* to, const char* name), void* to) {
    const auto names = stand_in::initializers(stand_in::content_of(path));
    if (!names) return 0;
    for (const std::string& name : *names) take(to, name.c_str());
    return 1;
}
