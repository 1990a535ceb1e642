#include "python_text.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace odise {

namespace {

// The code point at `at`, which moves behind it. -1: these bytes are no UTF-8, and `at` moves by one.
std::int64_t next(std::string_view text, std::size_t& at) {
    const auto first = static_cast<unsigned char>(text[at++]);
    if (first < 0x80) return first;
    const int more = first >= 0xF0 && first < 0xF5 ? 3 : first >= 0xE0 ? 2 : first >= 0xC2 ? 1 : 0;
    if (more == 0 || first >= 0xF5 || at + static_cast<std::size_t>(more) > text.size()) return -1;
    std::int64_t code = first & (0x3F >> more);
    for (int i = 0; i < more; ++i) {
        const auto byte = static_cast<unsigned char>(text[at + static_cast<std::size_t>(i)]);
        if ((byte & 0xC0) != 0x80) return -1;
        code = code << 6 | (byte & 0x3F);
    }
    constexpr std::array<std::int64_t, 4> least = {0, 0x80, 0x800, 0x10000};
    if (code < least[static_cast<std::size_t>(more)] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return -1;
    at += static_cast<std::size_t>(more);
    return code;
}

std::string escape(const char* format, unsigned code) {
    std::array<char, 16> buffer{};
    std::snprintf(buffer.data(), buffer.size(), format, code);
    return buffer.data();
}

}  // namespace

std::u32string code_points(std::string_view text) {
    std::u32string codes;
    for (std::size_t at = 0; at < text.size();) {
        const std::int64_t code = next(text, at);
        codes += code < 0 ? U'\uFFFD' : static_cast<char32_t>(code);
    }
    return codes;
}

bool is_utf8(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        if (next(text, at) < 0) return false;
    }
    return true;
}

void append_utf8(std::string& text, char32_t code) {
    const auto put = [&](char32_t byte) { text += static_cast<char>(byte); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | code >> 6), put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(0xE0 | code >> 12), put(0x80 | (code >> 6 & 0x3F)), put(0x80 | (code & 0x3F));
    } else {
        put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 0x3F));
        put(0x80 | (code >> 6 & 0x3F)), put(0x80 | (code & 0x3F));
    }
}

std::string repr(std::string_view text) {
    const bool has_single = text.find('\'') != std::string_view::npos;
    const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
    std::string out(1, quote);
    for (const char32_t code : code_points(text)) {
        if (code == static_cast<char32_t>(quote) || code == '\\') {
            out += '\\';
            out += static_cast<char>(code);
        } else if (code == '\n') {
            out += "\\n";
        } else if (code == '\r') {
            out += "\\r";
        } else if (code == '\t') {
            out += "\\t";
        } else if (code < 0x20 || (code >= 0x7F && code <= 0xA0) || code == 0xAD) {
            out += escape("\\x%02x", code);
        } else {
            append_utf8(out, code);
        }
    }
    return out + quote;
}

std::string repr(double number) {
    if (std::isnan(number)) return "nan";
    if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
    std::array<char, 40> buffer{};
    const auto scientific =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::scientific);
    const std::string text(buffer.data(), scientific.ptr);
    const int exponent = std::stoi(text.substr(text.find('e') + 1));
    if (exponent < -4 || exponent >= 16) return text;
    const auto fixed = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::fixed);
    std::string plain(buffer.data(), fixed.ptr);
    return plain.find('.') == std::string::npos ? plain + ".0" : plain;
}

std::string json_text(std::string_view text) {
    std::string out = "\"";
    for (const char32_t code : code_points(text)) {
        if (code == '"' || code == '\\') {
            out += '\\';
            out += static_cast<char>(code);
        } else if (code == '\n') {
            out += "\\n";
        } else if (code == '\r') {
            out += "\\r";
        } else if (code == '\t') {
            out += "\\t";
        } else if (code == '\b') {
            out += "\\b";
        } else if (code == '\f') {
            out += "\\f";
        } else if (code >= 0x20 && code < 0x7F) {
            out += static_cast<char>(code);
        } else if (code < 0x10000) {
            out += escape("\\u%04x", code);
        } else {
            out += escape("\\u%04x", 0xD800 + ((code - 0x10000) >> 10));
            out += escape("\\u%04x", 0xDC00 + ((code - 0x10000) & 0x3FF));
        }
    }
    return out + '"';
}

std::string cut(std::string_view text, std::size_t count) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < count && at < text.size(); ++i) next(text, at);
    return std::string(text.substr(0, at));
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
    std::string out;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (i > 0) out += separator;
        out += parts[i];
    }
    return out;
}

std::string tuple_of(const std::vector<std::int64_t>& shape) {
    std::vector<std::string> parts;
    for (const auto size : shape) parts.push_back(std::to_string(size));
    return "(" + joined(parts) + (shape.size() == 1 ? ",)" : ")");
}

std::string shell_word(const std::string& word) {
    constexpr std::string_view safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
    if (!word.empty() && word.find_first_not_of(safe) == std::string::npos) return word;
    std::string out = "'";
    for (const char character : word) out += character == '\'' ? "'\"'\"'" : std::string(1, character);
    return out + "'";
}

}  // namespace odise
