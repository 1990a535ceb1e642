// What the functions of the C interface share. Each that can fail runs inside `guarded`, so no exception leaves the
// library.
#pragma once

#include <algorithm>
#include <cstring>
#include <new>

#include "error.hpp"
#include "run/segmenter.hpp"

struct odise_segmenter {
    std::unique_ptr<odise::Segmenter> made;
};

struct odise_features {
    odise::Features made;
};

struct odise_result {
    std::unique_ptr<odise::Result> made;
};

namespace odise {

// Keeps an error for the calling thread, and returns its status.
odise_status failed(odise_status status, const char* message, const std::string& hint) noexcept;

template <typename Work>
odise_status guarded(Work work) noexcept {
    try {
        work();
        return ODISE_OK;
    } catch (const Error& error) {
        return failed(error.status, error.what(), error.hint);
    } catch (const std::bad_alloc&) {
        return failed(ODISE_MEMORY_ERROR, "there is not enough memory", "close other programs, or do less at once");
    } catch (const std::exception& error) {
        return failed(ODISE_INTERNAL_ERROR, error.what(), "this is a fault of odise-trt, please report it");
    } catch (...) {
        return failed(ODISE_INTERNAL_ERROR, "an unknown error", "this is a fault of odise-trt, please report it");
    }
}

// Copies what a caller's structure has of ours, whichever is older. `made` keeps its defaults for the rest.
template <typename Structure>
void take(const Structure* given, Structure& made, const char* name) {
    if (given == nullptr) return;
    if (given->size < sizeof given->size || given->size > 4096) {
        throw argument_error(std::string(name) + ".size is " + std::to_string(given->size),
                             std::string("set it: ") + name + " x = {sizeof x}");
    }
    std::memcpy(&made, given, std::min(given->size, sizeof made));
}

template <typename Structure>
void give(const Structure& made, Structure* wanted, const char* name) {
    if (wanted == nullptr) throw argument_error(std::string("the ") + name + " to fill is NULL");
    const std::size_t size = wanted->size;
    if (size < sizeof size || size > 4096) {
        throw argument_error(std::string(name) + ".size is " + std::to_string(size),
                             std::string("set it: ") + name + " x = {sizeof x}");
    }
    std::memcpy(wanted, &made, std::min(size, sizeof made));
    wanted->size = size;
}

inline void require(const void* pointer, const char* name) {
    if (pointer == nullptr) throw argument_error(std::string("the ") + name + " is NULL");
}

}  // namespace odise
