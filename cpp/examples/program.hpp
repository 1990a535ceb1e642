// What the programs have in common: an error ends them with its message, and with status 1.
#pragma once

#include <cstdio>
#include <exception>
#include <odise_trt.hpp>

inline int guarded(int (*run)(int, char**), int count, char** words) {
    try {
        return run(count, words);
    } catch (const odise::Exception& error) {
        std::fprintf(stderr, "%s: %s\n", error.name(), error.what());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
    }
    return 1;
}
