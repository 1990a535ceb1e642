"""Pictures that lie in the memory of a GPU already, as arrays of other libraries."""

from __future__ import annotations

from ..backends import exchange
from ..backends.cuda import Cuda
from ..backends.device import DeviceTensor
from ..backends.device_array import DeviceArray
from ..backends.exchange import Exchanged
from ..errors import ImageError
from ..preprocess import shortest_size
from .base import Picture
from .resizer import RESIZE_STAGE, can_resize

_TO_THE_HOST = "copy it to the host: .cpu() in torch, .get() in CuPy"
_CHANNELS_LAST = "for (3, H, W) in torch: tensor.permute(1, 2, 0).contiguous()"
_TO_BYTES = "for (3, H, W) in [0, 1] in torch: tensor.mul(255).round().byte().permute(1, 2, 0).contiguous()"


def picture_of(image: object, cuda: Cuda, sides: tuple[int, int], how_to_resize: str | None) -> Picture:
    """Return the picture of an array for which `exchange.is_on_gpu` holds. Nothing is copied.

    The stream `cuda.uploads` waits until its content is there.

    Args:
        image: an array that can be exchanged by DLPack or by `__cuda_array_interface__`.
        cuda: the GPU of the engines. It is the current one.
        sides: `short_side` and `max_side`, as for `preprocess.resize_shortest`.
        how_to_resize: how the bundle gets the stage that resizes. None: it has it.

    Returns:
        The picture, which keeps the array.

    Raises:
        ImageError: the array is on another GPU, is no uint8 (H, W, 3) with contiguous rows, or has a size
            that the engines do not take.
        BackendError: the GPU failed.
    """
    kind = f"{type(image).__module__}.{type(image).__name__}"
    named = exchange.gpu_of(image)
    if named is not None:
        # Before the other library is told of a stream of ours, which its GPU does not have.
        _check_gpu(named, kind, cuda)
    try:
        found = exchange.take(image, cuda.uploads)
    except (BufferError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImageError(f"the {kind} on the GPU cannot be shared: {why}", _TO_THE_HOST) from error
    _check_array(found, kind)
    if named is None:
        _check_gpu(cuda.gpu_of(found.address), kind, cuda)
    pixels = DeviceArray(cuda, found.address, found.dtype, found.shape, found.strides[0], found.owner)
    resized = _resized(pixels, kind, sides, how_to_resize)
    if found.stream is not None:
        event = cuda.event()
        cuda.record(event, found.stream)
        cuda.wait(cuda.uploads, event)
        cuda.free_event(event)
    return Picture(pixels, resized)


def _check_array(found: Exchanged, kind: str) -> None:
    said = f"this {kind} on the GPU is {found.dtype} {found.shape}"
    if 0 in found.shape:
        raise ImageError(f"the image has no pixels: {said}")
    if found.dtype != "uint8":
        raise ImageError(f"an image must be uint8 (H, W, 3), {said}", _TO_BYTES)
    if len(found.shape) != 3 or found.shape[2] != 3:
        raise ImageError(f"an image must be uint8 (H, W, 3), {said}", _CHANNELS_LAST)
    pitch, *inner = found.strides
    if inner != [3, 1] or (pitch < 3 * found.shape[1] and found.shape[0] > 1):
        raise ImageError(
            f"the rows of an image on the GPU must be contiguous, {said} with strides {found.strides}",
            "copy it there: .contiguous() in torch, cupy.ascontiguousarray",
        )


def _check_gpu(index: int | None, kind: str, cuda: Cuda) -> None:
    if index is None:
        raise ImageError(f"the {kind} is not in the memory of a GPU", _TO_THE_HOST)
    if index != cuda.index:
        raise ImageError(
            f"the {kind} is on GPU {index}, the engines are on GPU {cuda.index} ({cuda.device.name})",
            f'move it: .to("cuda:{cuda.index}") in torch; or open the bundle with device="cuda:{index}"',
        )


def _resized(
    pixels: DeviceArray, kind: str, sides: tuple[int, int], how_to_resize: str | None
) -> DeviceArray | DeviceTensor:
    """Return the picture if it has the size that the engines take, or the place for the resized one."""
    size = pixels.shape[0], pixels.shape[1]
    wanted = shortest_size(*size, *sides)
    if wanted == size:
        return pixels
    if how_to_resize is None and can_resize(size, wanted):
        return DeviceTensor(0, "uint8", (*wanted, 3))
    message = (
        f"the {kind} on the GPU has {size[0]} x {size[1]} pixels (height x width), the engines take it with"
        f" {wanted[0]} x {wanted[1]}"
    )
    if how_to_resize is None:
        raise ImageError(f"{message}: that is too much for the stage {RESIZE_STAGE}", _TO_THE_HOST)
    raise ImageError(
        f"{message}: this bundle does not resize pictures on the GPU",
        f"add the stage that does: {how_to_resize}; or {_TO_THE_HOST}",
    )
