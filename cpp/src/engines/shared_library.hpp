// A library that is loaded when it is needed. It stays loaded: libraries of engines have threads and state of their
// own.
#pragma once

#include <dlfcn.h>

#include <string>

#include "error.hpp"

namespace odise {

class SharedLibrary {
  public:
    // `fails`: the beginning of the message if it cannot be loaded: "tensorrt cannot be loaded". Throws BackendError.
    SharedLibrary(const std::string& fails, const std::string& file, const std::string& way_out)
        : file_(file), handle_(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
        if (handle_ != nullptr) return;
        const char* why = dlerror();
        throw backend_error(fails + ": " + (why == nullptr ? file : why), way_out);
    }

    const std::string& file() const { return file_; }

    // Throws BackendError if it has no such function.
    template <typename Function>
    Function find(const std::string& function) const {
        void* found = dlsym(handle_, function.c_str());
        if (found == nullptr) throw backend_error(file_ + " has no function " + function, "install it again");
        return reinterpret_cast<Function>(found);
    }

  private:
    std::string file_;
    void* handle_;
};

}  // namespace odise
