// Segments raw RGB frames from standard input, and writes a line for each:
//     ffmpeg -i video.mp4 -f rawvideo -pix_fmt rgb24 - | odise_frames BUNDLE TABLE WIDTH HEIGHT [ENGINE]
#include <cstdio>
#include <cstdlib>
#include <odise_trt.hpp>
#include <string>
#include <vector>

#include "program.hpp"

namespace {

int run(int count, char** words) {
    if (count < 5 || count > 6) {
        std::fputs("usage: odise_frames BUNDLE TABLE WIDTH HEIGHT [ENGINE] < FRAMES\n", stderr);
        return 2;
    }
    const int width = std::atoi(words[3]), height = std::atoi(words[4]);
    if (width < 1 || height < 1) {
        std::fputs("width and height are whole numbers of pixels\n", stderr);
        return 2;
    }
    odise::Options options;
    if (count == 6) options.engine = words[5];
    odise::Segmenter segmenter(words[1], options);
    segmenter.set_table(words[2]);
    std::vector<std::uint8_t> frame(3 * static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
    for (int number = 0;; ++number) {
        const std::size_t read = std::fread(frame.data(), 1, frame.size(), stdin);
        if (read == 0) return 0;
        if (read < frame.size()) {
            std::fprintf(stderr, "frame %d is cut off: %zu of %zu bytes\n", number, read, frame.size());
            return 1;
        }
        const odise::Result result = segmenter(odise::Image(frame.data(), width, height));
        std::printf("frame %d:", number);
        for (const auto& segment : result.segments()) {
            std::printf(" %s %lld;", segment.name.c_str(), static_cast<long long>(segment.area));
        }
        std::putchar('\n');
        std::fflush(stdout);
    }
}

}  // namespace

int main(int count, char** words) { return guarded(run, count, words); }
