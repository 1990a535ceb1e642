// Windows of a picture, and feature maps put back together from those of windows, on the host. Every number is that of
// odise_trt/windows.py.
#pragma once

#include "picture/vectors.hpp"
#include "result.hpp"

namespace odise {

// Windows `start` to `stop` of a picture uint8 (height, width, 3): float32 (stop - start, 3, side, side) in [0, 1].
// Padding is 0.
Array cut_windows(const Array& picture, const Grid& grid, std::size_t start, std::size_t stop);

// One feature map. Windows may come in several parts, in order. Only the map of the picture is kept.
class WindowMaps {
  public:
    // `tensor`: what a stage gives of windows, (windows, channels, side / stride, side / stride).
    // `picture`: its size without padding. Throws BundleError if the tensor is of another kind.
    WindowMaps(const std::string& stage, const Tensor& tensor, const Grid& grid, const Size& picture);

    const std::string& name() const { return map_.name; }
    // Adds the maps of the next windows. Where windows overlap, they are averaged. Throws BackendError if they have
    // another shape.
    void add(const Array& maps);
    // After all windows were added.
    FeatureMap result();

  private:
    const Grid& grid_;
    FeatureMap map_;
    bool averages_ = false, half_ = false;
    std::size_t next_ = 0;
    std::vector<float> row_;

    const float* row_of(const Array& maps, std::size_t start, std::size_t count);
};

}  // namespace odise
