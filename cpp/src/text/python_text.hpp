// Values as Python writes them: messages are the same here and there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace odise {

// repr() of a text in UTF-8.
std::string repr(std::string_view text);
// repr() of a float: the fewest digits that give the same number.
std::string repr(double number);
// json.dumps() of a text: ASCII only.
std::string json_text(std::string_view text);
// The first `count` characters of a text in UTF-8, as "{text:.60}" does.
std::string cut(std::string_view text, std::size_t count);
// "a, b, c".
std::string joined(const std::vector<std::string>& parts, std::string_view separator = ", ");
// A shape as a tuple is printed: "(3, 4)", "(3,)".
std::string tuple_of(const std::vector<std::int64_t>& shape);
// shlex.quote(): a word as a POSIX shell reads it.
std::string shell_word(const std::string& word);

// The code points of a text. Bytes that are no UTF-8 become U+FFFD.
std::u32string code_points(std::string_view text);
void append_utf8(std::string& text, char32_t code);
bool is_utf8(std::string_view text);

}  // namespace odise
