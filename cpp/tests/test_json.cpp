#include "check.hpp"
#include "text/json.hpp"
#include "text/python_text.hpp"

using odise::Json;
using odise::parse_json;

static void values_are_read() {
    const Json value = parse_json(
        "\xEF\xBB\xBF {\"a\": [1, -2.5e3, true, null], \"b\": {\"c\": \"x\\u00e9\\n\\ud83d\\ude00\"}, \"a\": 7}");
    CHECK_EQUAL(value.find("a")->integer, 7);
    CHECK_EQUAL(value.find("b")->find("c")->text, "x\xC3\xA9\n\xF0\x9F\x98\x80");
    CHECK_EQUAL(parse_json("[1, -2.5e3, true, null, NaN, 1e999]").repr(), "[1, -2500.0, True, None, nan, inf]");
    CHECK_EQUAL(parse_json("123456789012345678901234567890").repr(), "123456789012345678901234567890");
}

// The words are those of Python's json module.
static void errors_name_the_place() {
    const auto words = [](const std::string& text) { return WORDS_OF(parse_json(text)); };
    CHECK_EQUAL(words("[1,]"), "Expecting value: line 1 column 4 (char 3)");
    CHECK_EQUAL(words("{\"a\":1,}"), "Expecting property name enclosed in double quotes: line 1 column 8 (char 7)");
    CHECK_EQUAL(words("{"), "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)");
    CHECK_EQUAL(words("\"abc"), "Unterminated string starting at: line 1 column 1 (char 0)");
    CHECK_EQUAL(words("[1 2]"), "Expecting ',' delimiter: line 1 column 4 (char 3)");
    CHECK_EQUAL(words("\"\\q\""), "Invalid \\escape: line 1 column 2 (char 1)");
    CHECK_EQUAL(words("\"a\nb\""), "Invalid control character at: line 1 column 3 (char 2)");
    CHECK_EQUAL(words("1 2"), "Extra data: line 1 column 3 (char 2)");
    CHECK_EQUAL(words("{\"\xC3\xA9\":1,\n \"b\" 3}"), "Expecting ':' delimiter: line 2 column 6 (char 13)");
    CHECK_EQUAL(words(""), "Expecting value: line 1 column 1 (char 0)");
    CHECK_EQUAL(words("\"\xFF\""), "it is not UTF-8");
    CHECK_EQUAL(words(std::string(100000, '[')), "it is nested too deeply");
}

static void texts_are_written_as_python_writes_them() {
    CHECK_EQUAL(odise::repr(std::string_view("it's")), "\"it's\"");
    CHECK_EQUAL(odise::repr(std::string_view("a\"b'\n\x01")), "'a\"b\\'\\n\\x01'");
    CHECK_EQUAL(odise::repr(0.1), "0.1");
    CHECK_EQUAL(odise::repr(3.0), "3.0");
    CHECK_EQUAL(odise::repr(1e16), "1e+16");
    CHECK_EQUAL(odise::repr(0.00001), "1e-05");
    CHECK_EQUAL(odise::json_text("\xC3\xA9\"\xF0\x9F\x98\x80"), "\"\\u00e9\\\"\\ud83d\\ude00\"");
    CHECK_EQUAL(odise::shell_word("it's"), "'it'\"'\"'s'");
    CHECK_EQUAL(odise::cut("a\xC3\xA9z", 2), "a\xC3\xA9");
}

int main() {
    values_are_read();
    errors_name_the_place();
    texts_are_written_as_python_writes_them();
    return failures > 0;
}
