// Writes feature maps of a picture, each into a file that numpy.load reads:
//     odise_features BUNDLE IMAGE FOLDER [NAMES [TIME_STEP [ENGINE]]]
// NAMES are "un8,s2", or "all". A map is float32 (channels, height, width).
#include <cstdio>
#include <fstream>
#include <odise_trt.hpp>
#include <sstream>
#include <stdexcept>
#include <string>

#include "image_file.hpp"
#include "program.hpp"

namespace {

// An .npy file, see numpy.lib.format.
void write_map(const std::string& path, const odise_map& map) {
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(map.channels) + ", " +
                         std::to_string(map.height) + ", " + std::to_string(map.width) + "), }";
    constexpr std::size_t magic = 10, alignment = 64;
    header.resize((magic + header.size() + alignment) / alignment * alignment - magic - 1, ' ');
    header += '\n';
    const char length[] = {static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
    std::ofstream file(path, std::ios::binary);
    file.write("\x93NUMPY\x01\x00", 8).write(length, 2) << header;
    const auto count = static_cast<std::streamsize>(map.channels) * map.height * map.width;
    file.write(reinterpret_cast<const char*>(map.data), count * static_cast<std::streamsize>(sizeof(float)));
    if (!file.flush()) throw std::runtime_error(path + " cannot be written");
}

int number_of(const std::string& text) {
    std::istringstream stream(text);
    int number = 0;
    if (!(stream >> number) || !stream.eof()) throw std::runtime_error("a time step is a whole number, not " + text);
    return number;
}

int run(int count, char** words) {
    if (count < 4 || count > 7) {
        std::fputs(
            "usage: odise_features BUNDLE IMAGE FOLDER [NAMES [TIME_STEP [ENGINE]]]\n"
            "  NAMES are \"un8,s2\", or \"all\"; TIME_STEP is from 0 to 999\n",
            stderr);
        return 2;
    }
    odise::MapsRequest request;
    if (count > 4 && std::string(words[4]) != "all") {
        std::istringstream names(words[4]);
        for (std::string name; std::getline(names, name, ',');) request.names.push_back(name);
    }
    if (count > 5) request.time_step = number_of(words[5]);
    odise::Options options;
    if (count > 6) options.engine = words[6];
    const Picture photo = read_picture(words[2]);
    odise::Segmenter segmenter(words[1], options);
    const odise::Features features =
        segmenter.features(odise::Image(photo.rgb.data(), photo.width, photo.height), request);
    for (const odise_map& map : features.maps()) {
        const std::string path = std::string(words[3]) + "/" + map.name + ".npy";
        write_map(path, map);
        std::printf("%s: %d x %d x %d, a place has %d pixels of %d x %d\n", path.c_str(), map.channels, map.height,
                    map.width, map.stride, features.width(), features.height());
    }
    return 0;
}

}  // namespace

int main(int count, char** words) { return guarded(run, count, words); }
