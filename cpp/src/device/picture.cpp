#include "picture.hpp"

#include <algorithm>

namespace odise {

namespace {

// Sizes of pictures whose vectors stay on the device.
constexpr std::size_t most_sizes = 8;
constexpr const char* to_the_host = "copy it to the host: cudaMemcpy";

std::string said(const Size& size) { return std::to_string(size.height) + " x " + std::to_string(size.width); }

std::size_t bytes_of(const Size& size) { return static_cast<std::size_t>(3 * size.height * size.width); }

// "across" the rows or "down" the columns, in order.
std::vector<std::string> passes(const Size& from, const Size& to) {
    std::vector<std::string> found;
    if (from.width != to.width) found.emplace_back("across");
    if (from.height != to.height) found.emplace_back("down");
    if (rows_come_first(from, to)) std::reverse(found.begin(), found.end());
    return found;
}

Address address_of(const Pixels& pixels) { return reinterpret_cast<std::uintptr_t>(pixels.data); }

}  // namespace

PictureOnDevice::PictureOnDevice(const Bundle& bundle, Device& device, DeviceEngine* engine)
    : bundle_(bundle), device_(device), engine_(engine), sizes_(most_sizes), memory_(device) {}

void PictureOnDevice::check(const Pixels& pixels, const Size& wanted) const {
    const int gpu = device_.owner_of(address_of(pixels));
    if (gpu < 0) throw image_error("the image is not in the memory of a GPU", "give it as ODISE_HOST");
    if (gpu != device_.index()) {
        throw image_error("the image is on GPU " + std::to_string(gpu) + ", the engines are on GPU " +
                              std::to_string(device_.index()) + " (" + device_.info().name + ")",
                          "copy it there, or open the bundle with gpu = " + std::to_string(gpu));
    }
    if (pixels.size == wanted) return;
    const std::string message = "the image on the GPU has " + said(pixels.size) +
                                " pixels (height x width), the engines take it with " + said(wanted);
    if (engine_ == nullptr) {
        throw image_error(
            message + ": this bundle does not resize pictures on the GPU",
            "add the stage that does: " + rebuild_command(bundle_, {resize_stage}, true, bundle_.manifest.precision) +
                "; or " + to_the_host);
    }
    if (!can_resize(pixels.size, wanted)) {
        throw image_error(message + ": that is too much for the stage " + resize_stage, to_the_host);
    }
}

bool PictureOnDevice::can_resize(const Size& from, const Size& to) const {
    const auto taps = [](std::int64_t size, std::int64_t out) {
        return 2 * std::max(1.0, static_cast<double>(size) / static_cast<double>(out)) + 1;
    };
    const StageSpec& spec = engine_->spec();
    const double most = std::max(taps(from.height, to.height), taps(from.width, to.width));
    return std::max(from.height, from.width) <= spec.axis("source").range.most &&
           most <= static_cast<double>(spec.axis("taps").range.most);
}

const Resident* PictureOnDevice::vectors(const Pixels& pixels, const Size& wanted) {
    if (pixels.size == wanted) return nullptr;
    const std::string name = said(pixels.size) + " to " + said(wanted);
    if (const auto* known = sizes_.find(name)) return known->get();
    Arrays arrays;
    for (const std::string& pass : passes(pixels.size, wanted)) {
        const bool across = pass == "across";
        for (const auto& [vector, array] :
             resample_tensors(across ? pixels.size.width : pixels.size.height, across ? wanted.width : wanted.height)) {
            arrays[pass + "." + vector] = array;
        }
    }
    return sizes_.put(name, std::make_unique<Resident>(device_, std::move(arrays))).get();
}

std::size_t PictureOnDevice::scratch(const Pixels& pixels, const DeviceTensor& target) {
    const Resident* given = vectors(pixels, {target.shape[0], target.shape[1]});
    std::size_t most = 0;
    if (given == nullptr) return most;
    for (const Launch& run : launches(pixels.size, *given, target, 0)) {
        most = std::max(most, engine_->scratch(shapes_of(run.inputs)));
    }
    return most;
}

void PictureOnDevice::queue(const Pixels& pixels, const DeviceTensor& target) {
    const Size wanted{target.shape[0], target.shape[1]};
    const Resident* given = vectors(pixels, wanted);
    const std::size_t size = aligned(bytes_of(pixels.size));
    // A copy that is aligned and without gaps, what the first pass makes, and room for exchanging channels.
    const std::size_t between = aligned(
        static_cast<std::size_t>(3 * std::max(pixels.size.height * wanted.width, wanted.height * pixels.size.width)));
    const Address copy = memory_.reserve(2 * size + between), spare = copy + size + between;
    if (pixels.stream != 0) device_.follow(pixels.stream);
    gather(pixels, given == nullptr ? target.address : copy, spare);
    if (given == nullptr) return;
    for (const Launch& run : launches(pixels.size, *given, target, copy)) queue_launch(run);
}

void PictureOnDevice::download(const Pixels& pixels, const Array& target) {
    const std::size_t size = aligned(bytes_of(pixels.size));
    const Address copy = memory_.reserve(2 * size);
    if (pixels.stream != 0) device_.follow(pixels.stream);
    gather(pixels, copy, copy + size);
    device_.download(target.data(), copy, bytes_of(pixels.size));
}

void PictureOnDevice::gather(const Pixels& pixels, Address target, Address spare) {
    const auto row = static_cast<std::size_t>(3 * pixels.size.width);
    const auto rows = static_cast<std::size_t>(pixels.size.height);
    const Address first = address_of(pixels), packed = pixels.is_bgr ? spare : target;
    if (pixels.stride > 0) {
        device_.copy_rows(packed, row, first, static_cast<std::size_t>(pixels.stride), row, rows);
    } else {
        // Bottom up: copies of CUDA go upwards only, so each row is one.
        const auto down = static_cast<Address>(-pixels.stride);
        for (std::size_t y = 0; y < rows; ++y) device_.copy(packed + y * row, first - y * down, row);
    }
    if (!pixels.is_bgr) return;
    // Each channel is a copy of "rows" of one byte.
    for (Address channel = 0; channel < 3; ++channel) {
        device_.copy_rows(target + channel, 3, packed + 2 - channel, 3, 1, row / 3 * rows);
    }
}

void PictureOnDevice::arrived() {
    sizes_.erase_if([](const auto& one) {
        one->arrived();
        return false;
    });
}

std::vector<Launch> PictureOnDevice::launches(const Size& from, const Resident& vectors, const DeviceTensor& target,
                                              Address address) const {
    const std::int64_t block = engine_->spec().axis("rows").range.most;
    DeviceTensor pixels{address, Dtype::uint8, {from.height, from.width, 3}};
    const Address between = address + aligned(pixels.bytes());
    const std::vector<std::string> order = passes(from, {target.shape[0], target.shape[1]});
    std::vector<Launch> runs;
    for (const std::string& pass : order) {
        const bool across = pass == "across";
        const std::int64_t height = pixels.shape[0], width = pixels.shape[1];
        const Shape shape = across ? Shape{height, target.shape[1], 3} : Shape{target.shape[0], width, 3};
        const DeviceTensor resized = &pass == &order.back() ? target : DeviceTensor{between, Dtype::uint8, shape};
        for (std::int64_t start = 0; start < shape[0]; start += block) {
            const std::int64_t stop = std::min(start + block, shape[0]);
            DeviceTensor part = resized.part(start, stop);
            DeviceTensors taken;
            for (const char* name : {"index", "high", "low"}) {
                const DeviceTensor& vector = vectors.tensors().at(pass + "." + name);
                taken[name] = across ? vector : vector.part(start, stop);
            }
            if (across) {
                taken["pixels"] = pixels.part(start, stop);
            } else {
                // A row of pixels is one long row of values.
                part.shape = {1, stop - start, width * 3};
                taken["pixels"] = {pixels.address, Dtype::uint8, {1, height, width * 3}};
            }
            runs.push_back({engine_, std::move(taken), {{"resized", part}}});
        }
        pixels = resized;
    }
    return runs;
}

}  // namespace odise
