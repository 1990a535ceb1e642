// Segments a picture: odise_segment BUNDLE VOCABULARY IMAGE OVERLAY [ENGINE]
#include <chrono>
#include <cstdio>
#include <sstream>
#include <string>

#include "image_file.hpp"
#include "overlay.hpp"
#include "program.hpp"

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// "purse, handbag; table", all of them things; or a file.
void set_vocabulary(odise::Segmenter& segmenter, const std::string& text) {
    if (text.size() > 4 && text.compare(text.size() - 4, 4, ".npz") == 0) {
        segmenter.set_table(text);
        return;
    }
    std::vector<odise::Words> categories;
    std::istringstream list(text);
    for (std::string category; std::getline(list, category, ';');) {
        categories.push_back({{}, true});
        std::istringstream names(category);
        for (std::string name; std::getline(names, name, ',');) categories.back().names.push_back(name);
    }
    segmenter.set_words(categories);
}

int run(int count, char** words) {
    if (count < 5 || count > 6) {
        std::fputs(
            "usage: odise_segment BUNDLE VOCABULARY IMAGE OVERLAY [ENGINE]\n"
            "  VOCABULARY is words (\"purse, handbag; table\"), or a file FILE.npz of:\n"
            "  odise-trt vocab WORDS --engines BUNDLE --table FILE.npz\n",
            stderr);
        return 2;
    }
    odise::Options options;
    if (count == 6) options.engine = words[5];
    const Picture photo = read_picture(words[3]);
    const auto start = std::chrono::steady_clock::now();
    odise::Segmenter segmenter(words[1], options);
    set_vocabulary(segmenter, words[2]);
    const double opened = seconds_since(start);
    const odise::Result result = segmenter(odise::Image(photo.rgb.data(), photo.width, photo.height));
    const double first = seconds_since(start);
    for (const auto& segment : result.segments()) {
        std::printf("%3d  %-16s %-5s  score %.3f  %7lld pixels  box %d, %d, %d x %d\n", segment.id,
                    segment.name.c_str(), segment.isthing ? "thing" : "stuff", static_cast<double>(segment.score),
                    static_cast<long long>(segment.area), segment.x, segment.y, segment.width, segment.height);
    }
    write_picture(words[4], draw_overlay(photo, result));
    std::printf("%s: %zu segments; opened in %.2f s, first map after %.2f s\n", words[4], result.segments().size(),
                opened, first);
    return 0;
}

}  // namespace

int main(int count, char** words) { return guarded(run, count, words); }
