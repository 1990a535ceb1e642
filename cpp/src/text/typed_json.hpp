// JSON values read as what they should be, with the complaints of odise_trt/files/typed_json.py.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"

namespace odise {

// A value that does not fit its place, such as "stages[0].file".
struct MisfitError : std::runtime_error {
    MisfitError(const std::string& place, const std::string& complaint)
        : std::runtime_error(place.empty() ? complaint : place + " " + complaint) {}
};

// A value, and where it stands. Each reading throws MisfitError if the value is something else.
struct Placed {
    const Json& value;
    std::string place;

    std::string text() const;
    std::string one_of(std::initializer_list<std::string_view> values) const;
    bool boolean() const;
    double number() const;
    double number(std::int64_t least, std::int64_t most) const;
    std::int64_t whole() const;
    std::int64_t whole(std::int64_t least, std::int64_t most) const;
    // Any value that is not nested too deeply.
    void anything() const;
    bool is_null() const { return value.kind == Json::Kind::null; }

    std::vector<Placed> list() const;
    std::vector<std::pair<std::string, Placed>> mapping() const;
    std::vector<std::string> texts() const;
    std::vector<std::pair<std::string, std::string>> named_texts() const;
};

// A mapping whose keys are known.
class Object {
  public:
    // Throws MisfitError if there is another key.
    Object(const Placed& placed, std::initializer_list<std::string_view> fields);
    // Throws MisfitError if it is missing.
    Placed operator[](std::string_view field) const;
    bool has(std::string_view field) const { return placed_.value.find(field) != nullptr; }

  private:
    Placed placed_;
};

// A mapping in which these keys, if they are there, are read by functions. Others may be anything.
struct Key {
    std::string_view name;
    void (*read)(const Placed&);
    bool required = false;
};
void check_keys(const Placed& mapping, std::initializer_list<Key> keys);

}  // namespace odise
