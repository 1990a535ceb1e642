#include "json.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <unordered_map>

#include "python_text.hpp"

namespace odise {

namespace {

class Parser {
  public:
    explicit Parser(std::string_view text) : text_(text) {}

    Json document() {
        if (!is_utf8(text_)) throw JsonError("it is not UTF-8");
        if (text_.substr(0, 3) == "\xEF\xBB\xBF") text_.remove_prefix(3);
        skip_space();
        Json value = read(0);
        skip_space();
        if (at_ < text_.size()) fail("Extra data", at_);
        return value;
    }

  private:
    std::string_view text_;
    std::size_t at_ = 0;

    // Python counts characters, not bytes.
    [[noreturn]] void fail(const std::string& what, std::size_t at) const {
        const std::string_view before = text_.substr(0, at);
        const auto line = 1 + std::count(before.begin(), before.end(), '\n');
        const std::size_t start = before.rfind('\n');
        const auto in_line = before.substr(start == std::string_view::npos ? 0 : start + 1);
        throw JsonError(what + ": line " + std::to_string(line) + " column " +
                        std::to_string(code_points(in_line).size() + 1) + " (char " +
                        std::to_string(code_points(before).size()) + ")");
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void skip_space() {
        while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
    }

    bool word(std::string_view expected) {
        if (text_.substr(at_, expected.size()) != expected) return false;
        at_ += expected.size();
        return true;
    }

    Json read(int depth) {
        if (depth > json_deepest) throw JsonError("it is nested too deeply");
        Json value;
        const char first = peek();
        if (first == '"') {
            value.kind = Json::Kind::text;
            value.text = string();
        } else if (first == '{') {
            mapping(value, depth);
        } else if (first == '[') {
            list(value, depth);
        } else if (word("null")) {
            value.kind = Json::Kind::null;
        } else if (word("true")) {
            value.kind = Json::Kind::boolean;
            value.boolean = true;
        } else if (word("false")) {
            value.kind = Json::Kind::boolean;
        } else {
            number(value);
        }
        return value;
    }

    void number(Json& value) {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        value.kind = Json::Kind::real;
        if (word("NaN")) {
            value.real = std::numeric_limits<double>::quiet_NaN();
            return;
        }
        if (word("Infinity")) {
            value.real = infinity;
            return;
        }
        if (word("-Infinity")) {
            value.real = -infinity;
            return;
        }
        std::size_t end = at_;
        const auto digits = [&] {
            const std::size_t start = end;
            while (end < text_.size() && text_[end] >= '0' && text_[end] <= '9') ++end;
            return end > start;
        };
        if (end < text_.size() && text_[end] == '-') ++end;
        if (end < text_.size() && text_[end] == '0') {
            ++end;
        } else if (!digits()) {
            fail("Expecting value", at_);
        }
        bool whole = true;
        if (const std::size_t point = end; end < text_.size() && text_[end] == '.') {
            ++end;
            if (digits()) {
                whole = false;
            } else {
                end = point;
            }
        }
        if (const std::size_t letter = end; end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
            ++end;
            if (end < text_.size() && (text_[end] == '+' || text_[end] == '-')) ++end;
            if (digits()) {
                whole = false;
            } else {
                end = letter;
            }
        }
        const std::string written(text_.substr(at_, end - at_));
        // strtod gives infinity for what is too large, as Python does.
        value.real = std::strtod(written.c_str(), nullptr);
        if (whole) {
            value.kind = Json::Kind::integer;
            value.text = written == "-0" ? "0" : written;
            const auto [_, wrong] = std::from_chars(written.data(), written.data() + written.size(), value.integer);
            if (wrong != std::errc()) {
                value.integer = written[0] == '-' ? std::numeric_limits<std::int64_t>::min()
                                                  : std::numeric_limits<std::int64_t>::max();
            }
        }
        at_ = end;
    }

    char32_t hex(std::size_t at) const {
        char32_t code = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            const char c = at + i < text_.size() ? text_[at + i] : '\0';
            const int digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
            if (digit < 0) fail("Invalid \\uXXXX escape", at - 1);
            code = code << 4 | static_cast<char32_t>(digit);
        }
        return code;
    }

    void escaped(std::string& out) {
        const std::size_t start = at_ - 1;
        const char kind = peek();
        constexpr std::string_view from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
        if (kind != 'u') {
            const auto place = kind == '\0' ? std::string_view::npos : from.find(kind);
            if (place == std::string_view::npos) fail("Invalid \\escape", start);
            out += to[place];
            ++at_;
            return;
        }
        char32_t code = hex(at_ + 1);
        at_ += 5;
        if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
            const char32_t low = hex(at_ + 2);
            if (low >= 0xDC00 && low < 0xE000) {
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                at_ += 6;
            }
        }
        // Half of a pair is no character: UTF-8 has no bytes for it.
        append_utf8(out, code >= 0xD800 && code < 0xE000 ? U'\uFFFD' : code);
    }

    std::string string() {
        const std::size_t start = at_++;
        std::string out;
        while (true) {
            if (at_ >= text_.size()) fail("Unterminated string starting at", start);
            const char c = text_[at_];
            if (static_cast<unsigned char>(c) < 0x20) fail("Invalid control character at", at_);
            ++at_;
            if (c == '"') return out;
            if (c == '\\') {
                if (at_ >= text_.size()) fail("Unterminated string starting at", start);
                escaped(out);
            } else {
                out += c;
            }
        }
    }

    void list(Json& value, int depth) {
        value.kind = Json::Kind::list;
        ++at_;
        skip_space();
        if (peek() == ']') {
            ++at_;
            return;
        }
        while (true) {
            value.list.push_back(read(depth + 1));
            skip_space();
            if (peek() == ']') {
                ++at_;
                return;
            }
            if (peek() != ',') fail("Expecting ',' delimiter", at_);
            ++at_;
            skip_space();
        }
    }

    void mapping(Json& value, int depth) {
        value.kind = Json::Kind::mapping;
        std::unordered_map<std::string, std::size_t> places;
        ++at_;
        skip_space();
        if (peek() == '}') {
            ++at_;
            return;
        }
        while (true) {
            if (peek() != '"') fail("Expecting property name enclosed in double quotes", at_);
            std::string key = string();
            skip_space();
            if (peek() != ':') fail("Expecting ':' delimiter", at_);
            ++at_;
            skip_space();
            Json one = read(depth + 1);
            const auto [place, fresh] = places.emplace(key, value.mapping.size());
            if (fresh) {
                value.mapping.emplace_back(std::move(key), std::move(one));
            } else {
                value.mapping[place->second].second = std::move(one);
            }
            skip_space();
            if (peek() == '}') {
                ++at_;
                return;
            }
            if (peek() != ',') fail("Expecting ',' delimiter", at_);
            ++at_;
            skip_space();
        }
    }
};

}  // namespace

const Json* Json::find(std::string_view key) const {
    for (const auto& [name, value] : mapping) {
        if (name == key) return &value;
    }
    return nullptr;
}

std::string Json::repr() const {
    std::vector<std::string> parts;
    switch (kind) {
        case Kind::null:
            return "None";
        case Kind::boolean:
            return boolean ? "True" : "False";
        case Kind::integer:
            return text;
        case Kind::real:
            return odise::repr(real);
        case Kind::text:
            return odise::repr(text);
        case Kind::list:
            for (const auto& one : list) parts.push_back(one.repr());
            return "[" + joined(parts) + "]";
        case Kind::mapping:
            for (const auto& [key, one] : mapping) parts.push_back(odise::repr(key) + ": " + one.repr());
            return "{" + joined(parts) + "}";
    }
    return {};
}

Json parse_json(std::string_view text) { return Parser(text).document(); }

}  // namespace odise
