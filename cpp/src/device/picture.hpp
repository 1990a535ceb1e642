// Pictures that lie in the memory of the GPU already.
#pragma once

#include "picture/resize.hpp"
#include "program.hpp"
#include "resident.hpp"

namespace odise {

constexpr const char* resize_stage = "resize";

// Puts a picture of a caller where the engines take it, in RGB, resized to exactly what Pillow gives on the host.
// All pictures share its memory.
class PictureOnDevice {
  public:
    // `engine`: of the stage `resize`. nullptr: the bundle does not resize pictures on the GPU.
    PictureOnDevice(const Bundle& bundle, Device& device, DeviceEngine* engine);

    // Throws ImageError: it is no memory of this GPU, or has a size that the engines do not take.
    void check(const Pixels& pixels, const Size& wanted) const;
    // The vectors for resizing it, on the device. nullptr: it has the size that the engines take.
    // Throws DeviceMemoryError.
    const Resident* vectors(const Pixels& pixels, const Size& wanted);
    // Bytes of scratch memory that resizing needs.
    std::size_t scratch(const Pixels& pixels, const DeviceTensor& target);
    // Queues it, after what the caller's stream has to do now. The picture must live until it has run.
    // `target`: uint8 (height, width, 3).
    void queue(const Pixels& pixels, const DeviceTensor& target);
    // Queues a copy of it, of its own size, to the host. The same holds.
    void download(const Pixels& pixels, const Array& target);
    // The uploads of `vectors` have happened.
    void arrived();

  private:
    const Bundle& bundle_;
    Device& device_;
    DeviceEngine* engine_;
    Residents sizes_;
    Buffer memory_;

    bool can_resize(const Size& from, const Size& to) const;
    void gather(const Pixels& pixels, Address target, Address spare);
    // The runs of both passes, block by block. `address`: of the copy of the picture.
    std::vector<Launch> launches(const Size& from, const Resident& vectors, const DeviceTensor& target,
                                 Address address) const;
};

}  // namespace odise
