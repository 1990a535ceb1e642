// Segments a picture: odise_segment BUNDLE TABLE IMAGE OVERLAY [ENGINE]
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>

#include "image_file.hpp"
#include "overlay.hpp"

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int run(int count, char** words) {
    if (count < 5 || count > 6) {
        std::fputs("usage: odise_segment BUNDLE TABLE IMAGE OVERLAY [ENGINE]\n"
                   "  TABLE comes from: odise-trt vocab WORDS --engines BUNDLE --table TABLE\n",
                   stderr);
        return 2;
    }
    odise::Options options;
    if (count == 6) options.engine = words[5];
    const Picture photo = read_picture(words[3]);
    const auto start = std::chrono::steady_clock::now();
    odise::Segmenter segmenter(words[1], options);
    segmenter.set_table(words[2]);
    const double opened = seconds_since(start);
    const odise::Result result = segmenter(odise::Image(photo.rgb.data(), photo.width, photo.height));
    const double first = seconds_since(start);
    for (const auto& segment : result.segments()) {
        std::printf("%3d  %-16s %-5s  score %.3f  %7lld pixels  box %d, %d, %d x %d\n", segment.id, segment.name.c_str(),
                    segment.isthing ? "thing" : "stuff", static_cast<double>(segment.score),
                    static_cast<long long>(segment.area), segment.x, segment.y, segment.width, segment.height);
    }
    write_picture(words[4], draw_overlay(photo, result));
    std::printf("%s: %zu segments; opened in %.2f s, first map after %.2f s\n", words[4], result.segments().size(), opened,
                first);
    return 0;
}

}  // namespace

int main(int count, char** words) {
    try {
        return run(count, words);
    } catch (const odise::Exception& error) {
        std::fprintf(stderr, "%s: %s\n", error.name(), error.what());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
    }
    return 1;
}
