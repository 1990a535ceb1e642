// A strict JSON reader. It reads what Python's json module reads (NaN and Infinity too, which parity results
// can have), keeps the order of keys, and complains in the same words.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace odise {

struct Json {
    enum class Kind { null, boolean, integer, real, text, list, mapping };

    Kind kind = Kind::null;
    bool boolean = false;
    std::int64_t integer = 0;  // Of integers beyond its range, the nearest one: `text` has all digits.
    double real = 0;           // Of integers, too.
    std::string text;
    std::vector<Json> list;
    std::vector<std::pair<std::string, Json>> mapping;  // A key stands once: the last one counts.

    // The value of a key of a mapping. nullptr: it is no mapping, or has no such key.
    const Json* find(std::string_view key) const;
    // repr() of what Python would read.
    std::string repr() const;
};

// The text is no JSON. what(): Python's words, with line and column.
struct JsonError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The deepest nesting that is read.
constexpr int json_deepest = 100;

// Throws JsonError. A byte order mark is skipped.
Json parse_json(std::string_view text);

}  // namespace odise
