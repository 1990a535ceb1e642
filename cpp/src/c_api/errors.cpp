#include "guard.hpp"
#include "text/python_text.hpp"

namespace {

struct LastError {
    std::string whole, message, hint;
};

LastError& last_error() {
    thread_local LastError error;
    return error;
}

}  // namespace

odise_status odise::failed(odise_status status, const char* message, const std::string& hint) noexcept {
    try {
        last_error() = {hint.empty() ? message : std::string(message) + "\n  " + hint, message, hint};
    } catch (...) {
        // Not even a message fits into memory.
        last_error().whole.clear(), last_error().message.clear(), last_error().hint.clear();
    }
    return status;
}

extern "C" {

uint32_t odise_abi_version(void) { return ODISE_ABI_VERSION; }

const char* odise_version(void) { return ODISE_TRT_VERSION; }

const char* odise_engines(void) {
    static const std::string names = odise::joined(odise::engine_names(), ",");
    return names.c_str();
}

const char* odise_status_name(odise_status status) {
    switch (status) {
        case ODISE_OK:
            return "OK";
        case ODISE_ARGUMENT_ERROR:
            return "ArgumentError";
        case ODISE_IMAGE_ERROR:
            return "ImageError";
        case ODISE_VOCABULARY_ERROR:
            return "VocabularyError";
        case ODISE_BUNDLE_ERROR:
            return "BundleError";
        case ODISE_BACKEND_ERROR:
            return "BackendError";
        case ODISE_MEMORY_ERROR:
            return "MemoryError";
        case ODISE_INTERNAL_ERROR:
            return "OdiseError";
        case ODISE_FEATURE_ERROR:
            return "FeatureError";
    }
    return "unknown";
}

const char* odise_last_error(void) { return last_error().whole.c_str(); }
const char* odise_last_message(void) { return last_error().message.c_str(); }
const char* odise_last_hint(void) { return last_error().hint.c_str(); }

}  // extern "C"
