// Errors, with the names and the two parts that errors have in Python: what is wrong, and what to do.
#pragma once

#include <stdexcept>
#include <string>

#include "odise_trt.h"

namespace odise {

class Error : public std::runtime_error {
  public:
    Error(odise_status kind, const std::string& message, std::string what_to_do = {})
        : std::runtime_error(message), status(kind), hint(std::move(what_to_do)) {}

    odise_status status;
    std::string hint;  // Empty: there is none.
};

inline Error argument_error(const std::string& message, const std::string& hint = {}) {
    return {ODISE_ARGUMENT_ERROR, message, hint};
}
inline Error bundle_error(const std::string& message, const std::string& hint = {}) {
    return {ODISE_BUNDLE_ERROR, message, hint};
}
inline Error backend_error(const std::string& message, const std::string& hint = {}) {
    return {ODISE_BACKEND_ERROR, message, hint};
}
inline Error vocabulary_error(const std::string& message, const std::string& hint = {}) {
    return {ODISE_VOCABULARY_ERROR, message, hint};
}
inline Error image_error(const std::string& message, const std::string& hint = {}) {
    return {ODISE_IMAGE_ERROR, message, hint};
}
inline Error feature_error(const std::string& message, const std::string& hint = {}) {
    return {ODISE_FEATURE_ERROR, message, hint};
}

}  // namespace odise
