// What odise_trt.h says of threads, tried: segmenters that are shared, several at once, results that outlive them,
// errors that belong to their thread. The library is one with the engine of stub_engine.cpp.
//     odise_threads BUNDLE TABLE [COUNT]
// COUNT: then so many pictures of a segmenter, for leaks.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <odise_trt.hpp>
#include <string>
#include <thread>
#include <vector>

namespace {

std::vector<std::uint8_t> picture(int number) {
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(3 * (40 + number) * (30 + number)));
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 7 + i / 90 * 3);
    return pixels;
}

odise::Result segmented(odise::Segmenter& segmenter, int number) {
    const std::vector<std::uint8_t> pixels = picture(number);
    return segmenter(odise::Image(pixels.data(), 40 + number, 30 + number), ODISE_PANOPTIC | ODISE_SEMANTIC);
}

bool same(const odise::Result& one, const odise::Result& other, int number) {
    const auto bytes = static_cast<std::size_t>((40 + number) * (30 + number)) * sizeof(std::int32_t);
    return std::memcmp(one.panoptic(), other.panoptic(), bytes) == 0 &&
           std::memcmp(one.semantic(), other.semantic(), bytes) == 0;
}

bool is_same(const odise_map& one, const odise_map& other) {
    const auto count = static_cast<std::size_t>(one.channels * one.height * one.width);
    return one.channels == other.channels && one.height == other.height && one.width == other.width &&
           std::memcmp(one.data, other.data, count * sizeof(float)) == 0;
}

constexpr int pictures = 4, rounds = 6;
std::atomic<int> failures{0};

void expect(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what);
    ++failures;
}

// All maps that the bundle has, of a smaller picture, are the same each time.
void check_smaller(odise::Segmenter& segmenter, int number) {
    const std::vector<std::uint8_t> pixels = picture(number);
    const odise::Image image(pixels.data(), 40 + number, 30 + number);
    odise::MapsRequest request;
    request.short_side = 70;
    const odise::Features first = segmenter.features(image, request), second = segmenter.features(image, request);
    expect(first.height() == 70 && first.maps().size() >= 4, "a picture has another size, or a map is missing");
    for (std::size_t i = 0; i < first.maps().size(); ++i) {
        expect(is_same(first.maps()[i], second.maps()[i]), "a map is another one");
    }
}

template <typename Work>
void in_threads(int count, Work work) {
    std::vector<std::thread> threads;
    for (int number = 0; number < count; ++number) {
        threads.emplace_back([&work, number] {
            try {
                work(number);
            } catch (const std::exception& error) {
                expect(false, error.what());
            }
        });
    }
    for (std::thread& one : threads) one.join();
}

// The error of a thread stays its own, whatever fails in others.
void check_errors(int number) {
    const std::string folder = "/nowhere/" + std::to_string(number);
    for (int i = 0; i < 50; ++i) {
        odise_segmenter* made = nullptr;
        expect(odise_open(folder.c_str(), nullptr, &made) == ODISE_BUNDLE_ERROR, "a bundle is nowhere");
        std::this_thread::yield();
        expect(std::strstr(odise_last_message(), folder.c_str()) != nullptr, "an error is of another thread");
    }
}

void run(const std::string& bundle, const std::string& table) {
    std::vector<odise::Result> alone;
    {
        odise::Segmenter segmenter(bundle);
        segmenter.set_table(table);
        for (int number = 0; number < pictures; ++number) alone.push_back(segmented(segmenter, number));
        // One segmenter in many threads, while its vocabulary is set and features are read.
        in_threads(6, [&](int thread) {
            for (int i = 0; i < rounds; ++i) {
                const int number = (thread + i) % pictures;
                if (thread == 4) segmenter.set_table(table);
                if (thread == 3) check_smaller(segmenter, number);
                if (thread == 5) {
                    const std::vector<std::uint8_t> pixels = picture(number);
                    const auto maps = segmenter.features(odise::Image(pixels.data(), 40 + number, 30 + number)).maps();
                    expect(maps.size() == 4, "a feature map is missing");
                    check_smaller(segmenter, number);
                }
                expect(same(segmented(segmenter, number), alone[static_cast<std::size_t>(number)], number),
                       "a shared segmenter gave something else");
            }
        });
        in_threads(2, [&](int thread) {
            for (int i = 0; i < 3; ++i) {
                if (thread == 0) segmenter.set_words({{{"cat"}, true}, {{"grass", "lawn"}, false}});
                expect(!segmented(segmenter, 0).categories().empty(), "a result has a vocabulary");
            }
        });
    }
    // Results outlive their segmenter, and several threads read them. Segmenters of their own run at the same time.
    in_threads(3, [&](int thread) {
        if (thread == 2) return check_errors(thread);
        odise::Segmenter segmenter(bundle);
        segmenter.set_table(table);
        for (int number = 0; number < pictures; ++number) {
            expect(same(segmented(segmenter, number), alone[static_cast<std::size_t>(number)], number),
                   "a segmenter of its own gave something else");
        }
    });
    in_threads(4, check_errors);
}

void segment_many(const std::string& bundle, const std::string& table, int count) {
    odise::Segmenter segmenter(bundle);
    segmenter.set_table(table);
    const std::vector<std::uint8_t> pixels = picture(9);
    for (int i = 0; i < count; ++i) {
        const auto tasks = static_cast<std::uint32_t>(1 + i % 7);
        const odise::Image image(pixels.data(), 1 + i % 49, 1 + i % 39);
        const odise::Result result = segmenter(image, tasks);
        expect(result.width() == image.width, "a result has another size");
        if (i % 10 == 0) segmenter.set_table(table);
        if (i % 100 == 0) expect(segmenter.features(image).maps().size() == 4, "a feature map is missing");
    }
}

}  // namespace

int main(int count, char** words) {
    if (count < 3) return 2;
    try {
        run(words[1], words[2]);
        if (count > 3) segment_many(words[1], words[2], std::atoi(words[3]));
    } catch (const std::exception& error) {
        expect(false, error.what());
    }
    return failures == 0 ? 0 : 1;
}
