// A test is a block. A check that fails says where, and the program ends with 1.
#pragma once

#include <iostream>
#include <string>

inline int failures = 0;

#define CHECK(condition) check_that((condition), #condition, __FILE__, __LINE__)
#define CHECK_EQUAL(found, expected) check_equal((found), (expected), __FILE__, __LINE__)
// The words of the exception that an expression throws.
#define WORDS_OF(expression) words_of([&] { static_cast<void>(expression); })

inline void check_that(bool holds, const char* what, const char* file, int line) {
    if (holds) return;
    std::cerr << file << ":" << line << ": " << what << "\n";
    ++failures;
}

template <typename A, typename B>
void check_equal(const A& found, const B& expected, const char* file, int line) {
    if (found == expected) return;
    std::cerr << file << ":" << line << ": found    " << found << "\n    expected " << expected << "\n";
    ++failures;
}

template <typename Work>
std::string words_of(Work work) {
    try {
        work();
    } catch (const std::exception& error) {
        return error.what();
    }
    return "nothing was thrown";
}
