// Segments many pictures of many sizes, in two threads: for sanitizers, and to see that memory stays flat.
//     odise_soak BUNDLE TABLE COUNT [ENGINE]
#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <odise_trt.hpp>
#include <random>
#include <thread>

#ifdef ODISE_SANITIZED
// OpenVINO's threads load a library with RTLD_DEEPBIND, which sanitizers refuse.
extern "C" __attribute__((visibility("default"))) void* dlopen(const char* name, int flags) noexcept {
    using Open = void* (*)(const char*, int);
    static const auto next = reinterpret_cast<Open>(dlsym(RTLD_NEXT, "dlopen"));
    return next(name, flags & ~RTLD_DEEPBIND);
}
#endif

namespace {

double mebibytes() {
    std::ifstream file("/proc/self/statm");
    long all = 0, resident = 0;
    file >> all >> resident;
    return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

void segment_some(odise::Segmenter& segmenter, const std::string& table, int count, unsigned seed) {
    std::mt19937 numbers(seed);
    const auto below = [&](unsigned most) { return static_cast<int>(numbers() % most); };
    for (int i = 0; i < count; ++i) {
        const int width = 1 + below(300), height = 1 + below(300), gap = below(20);
        std::vector<std::uint8_t> pixels(static_cast<std::size_t>((3 * width + gap) * height));
        for (auto& one : pixels) one = static_cast<std::uint8_t>(numbers());
        if (below(10) == 0) segmenter.set_table(table);
        const auto tasks = static_cast<std::uint32_t>(1 + below(7));
        const odise::Image image(pixels.data(), width, height, 3 * width + gap, below(2) == 0 ? ODISE_RGB : ODISE_BGR);
        const odise::Result result = segmenter(image, tasks);
        const auto size = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
        long sum = 0;
        for (std::size_t p = 0; p < size; ++p) {
            if (result.panoptic() != nullptr) sum += result.panoptic()[p];
            if (result.semantic() != nullptr) sum += result.semantic()[p];
        }
        for (std::size_t k = 0; k < result.instances().size(); ++k) sum += result.instance_mask(k)[size - 1];
        if (sum == -1) std::puts("");
        if (seed == 1 && (i + 1) % 10 == 0)
            std::printf("%d pictures, %.1f MiB\n", 2 * (i + 1), mebibytes()), std::fflush(stdout);
    }
}

}  // namespace

int main(int count, char** words) {
    if (count < 4) return 2;
    try {
        odise::Options options;
        if (count > 4) options.engine = words[4];
        odise::Segmenter segmenter(words[1], options);
        segmenter.set_table(words[2]);
        const int half = std::atoi(words[3]) / 2;
        std::thread other(segment_some, std::ref(segmenter), words[2], half, 2);
        segment_some(segmenter, words[2], half, 1);
        other.join();
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
