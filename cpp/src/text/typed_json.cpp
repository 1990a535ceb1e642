#include "typed_json.hpp"

#include <algorithm>
#include <cmath>

#include "python_text.hpp"

namespace odise {

namespace {

// The deepest nesting of values that may be anything.
constexpr int deepest = 40;

MisfitError wrong(const Placed& placed, const std::string& wanted) {
    std::string found;
    switch (placed.value.kind) {
        case Json::Kind::mapping:
            found = "a mapping";
            break;
        case Json::Kind::list:
            found = "a list";
            break;
        case Json::Kind::null:
            found = "null";
            break;
        default:
            found = cut(placed.value.repr(), 80);
    }
    return {placed.place, "must be " + wanted + ", it is " + found};
}

bool is_shallow(const Json& value, int levels) {
    if (levels == 0) return false;
    const auto shallow = [&](const Json& one) { return is_shallow(one, levels - 1); };
    return std::all_of(value.list.begin(), value.list.end(), shallow) &&
           std::all_of(value.mapping.begin(), value.mapping.end(),
                       [&](const auto& pair) { return shallow(pair.second); });
}

MisfitError outside(const Placed& placed, std::int64_t least, std::int64_t most, const std::string& found) {
    return {placed.place,
            "must be " + std::to_string(least) + " to " + std::to_string(most) + ", it is " + cut(found, 80)};
}

}  // namespace

std::string Placed::text() const {
    if (value.kind != Json::Kind::text) throw wrong(*this, "a text");
    return value.text;
}

std::string Placed::one_of(std::initializer_list<std::string_view> values) const {
    const std::string found = text();
    if (std::find(values.begin(), values.end(), found) == values.end()) {
        const std::vector<std::string> names(values.begin(), values.end());
        throw MisfitError(place, "must be " + joined(names, " or ") + ", it is " + cut(repr(found), 80));
    }
    return found;
}

bool Placed::boolean() const {
    if (value.kind != Json::Kind::boolean) throw wrong(*this, "true or false");
    return value.boolean;
}

double Placed::number() const {
    const bool whole = value.kind == Json::Kind::integer;
    if (!(whole && std::isfinite(value.real)) && value.kind != Json::Kind::real) throw wrong(*this, "a number");
    return value.real;
}

double Placed::number(std::int64_t least, std::int64_t most) const {
    const double found = number();
    // NaN fails.
    if (!(static_cast<double>(least) <= found && found <= static_cast<double>(most))) {
        throw outside(*this, least, most, repr(found));
    }
    return found;
}

std::int64_t Placed::whole() const {
    if (value.kind != Json::Kind::integer) throw wrong(*this, "a whole number");
    return value.integer;
}

std::int64_t Placed::whole(std::int64_t least, std::int64_t most) const {
    const std::int64_t found = whole();
    if (found < least || found > most) throw outside(*this, least, most, value.text);
    return found;
}

void Placed::anything() const {
    if (!is_shallow(value, deepest)) throw MisfitError(place, "is nested too deeply");
}

std::vector<Placed> Placed::list() const {
    if (value.kind != Json::Kind::list) throw wrong(*this, "a list");
    std::vector<Placed> found;
    for (const Json& one : value.list) found.push_back({one, place + "[" + std::to_string(found.size()) + "]"});
    return found;
}

std::vector<std::pair<std::string, Placed>> Placed::mapping() const {
    if (value.kind != Json::Kind::mapping) throw wrong(*this, "a mapping");
    std::vector<std::pair<std::string, Placed>> found;
    for (const auto& [key, one] : value.mapping) {
        found.emplace_back(key, Placed{one, place + "[" + cut(repr(key), 60) + "]"});
    }
    return found;
}

std::vector<std::string> Placed::texts() const {
    std::vector<std::string> found;
    for (const auto& one : list()) found.push_back(one.text());
    return found;
}

std::vector<std::pair<std::string, std::string>> Placed::named_texts() const {
    std::vector<std::pair<std::string, std::string>> found;
    for (const auto& [key, one] : mapping()) found.emplace_back(key, one.text());
    return found;
}

Object::Object(const Placed& placed, std::initializer_list<std::string_view> fields) : placed_(placed) {
    for (const auto& [key, _] : placed.mapping()) {
        if (std::find(fields.begin(), fields.end(), key) == fields.end()) {
            throw MisfitError(placed.place, "has a field that is not known: " + cut(repr(key), 60));
        }
    }
}

Placed Object::operator[](std::string_view field) const {
    const std::string place = (placed_.place.empty() ? "" : placed_.place + ".") + std::string(field);
    const Json* value = placed_.value.find(field);
    if (value == nullptr) throw MisfitError(place, "is missing");
    return {*value, place};
}

void check_keys(const Placed& mapping, std::initializer_list<Key> keys) {
    for (const auto& [_, one] : mapping.mapping()) one.anything();
    for (const Key& key : keys) {
        const Json* value = mapping.value.find(key.name);
        if (value == nullptr) {
            if (key.required) throw MisfitError(mapping.place, "has no " + std::string(key.name));
            continue;
        }
        try {
            key.read({*value, std::string(key.name)});
        } catch (const MisfitError& error) {
            throw MisfitError(mapping.place, std::string("is wrong: ") + error.what());
        }
    }
}

}  // namespace odise
