// Answers the Python tests: parts of the library as a filter of bytes.
//     odise_probe resize HEIGHT WIDTH SHORT MAX        uint8 pixels -> "height width\n" and uint8 pixels
//     odise_probe vectors H W PADDED_H PADDED_W OUT_H OUT_W WINDOW CLIP    -> tensors
//     odise_probe vocabulary BUNDLE TABLE              -> tensors
//     odise_probe tokens BUNDLE                        lines of texts -> lines of tokens, or messages
//     odise_probe open BUNDLE                          -> "opened\n", or the message and the hint of the error
// Tensors are lines "name dtype size size ...\n", each followed by its bytes.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>

#include "error.hpp"
#include "picture/resize.hpp"
#include "picture/vectors.hpp"
#include "text/tokenizer.hpp"
#include "vocabulary/table.hpp"

namespace {

void print(const odise::Arrays& arrays) {
    for (const auto& [name, array] : arrays) {
        std::cout << name << " " << odise::name_of(array.dtype);
        for (const auto size : array.shape) std::cout << " " << size;
        std::cout << "\n";
        std::cout.write(reinterpret_cast<const char*>(array.data()), static_cast<std::streamsize>(array.bytes()));
    }
}

int run(const std::vector<std::string>& words) {
    const auto number = [&](std::size_t i) { return std::stoll(words.at(i)); };
    const std::string what = words.at(0);
    if (what == "resize") {
        const std::vector<char> bytes{std::istreambuf_iterator<char>(std::cin), {}};
        const odise::Size size{number(1), number(2)};
        const odise::Pixels pixels{reinterpret_cast<const std::uint8_t*>(bytes.data()), size, 3 * size.width, false};
        const odise::Size to = odise::shortest_size(size, number(3), number(4));
        const odise::Array made = odise::resized(pixels, to);
        std::cout << to.height << " " << to.width << "\n";
        std::cout.write(reinterpret_cast<const char*>(made.data()), static_cast<std::streamsize>(made.bytes()));
    } else if (what == "vectors") {
        print(odise::picture_tensors(
            {{number(1), number(2)}, {number(3), number(4)}, {number(5), number(6)}, number(7), number(8)}));
    } else if (what == "vocabulary") {
        const odise::Bundle bundle = odise::Bundle::open(words.at(1), false);
        const odise::ModelSpec& model = bundle.manifest.model;
        print(odise::vocabulary_tensors(odise::Table::read(words.at(2), bundle), model.alpha, model.beta));
    } else if (what == "tokens") {
        const odise::Tokenizer tokenizer(odise::Bundle::open(words.at(1), false));
        for (std::string line; std::getline(std::cin, line);) {
            try {
                const odise::Array row = tokenizer.encode({line});
                for (std::size_t i = 0; i < row.count(); ++i) std::cout << row.as<std::int64_t>()[i] << " ";
                std::cout << "\n";
            } catch (const odise::Error& error) {
                std::cout << error.what() << "\n";
            }
        }
    } else if (what == "open") {
        odise::Bundle::open(words.at(1), true);
        std::cout << "opened\n";
    } else {
        return 2;
    }
    return 0;
}

}  // namespace

int main(int count, char** words) {
    try {
        return run({words + 1, words + count});
    } catch (const odise::Error& error) {
        std::cout << odise_status(error.status) << "\n" << error.what() << "\n" << error.hint << "\n";
        return 1;
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 2;
    }
}
