// Any bytes as a manifest: they are read, or an error says why not.
#include "bundle/manifest.hpp"
#include "error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        const auto manifest = odise::Manifest::parse("bundle", {reinterpret_cast<const char*>(data), size});
        for (const auto& entry : manifest.stages) {
            for (const auto& tensor : entry.spec.inputs) {
                odise::Sizes sizes;
                odise::learn_sizes(entry.spec, tensor, odise::Shape(tensor.shape.size(), 64), sizes);
                odise::check_sizes(entry.spec, sizes);
                tensor.resolve(sizes);
            }
        }
    } catch (const odise::Error&) {
    }
    return 0;
}
