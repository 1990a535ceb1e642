// Reads a picture as the examples do, and writes it: odise_convert IN OUT.ppm
#include <cstdio>
#include <exception>

#include "image_file.hpp"

int main(int count, char** words) {
    if (count != 3) return 2;
    try {
        write_picture(words[2], read_picture(words[1]));
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
