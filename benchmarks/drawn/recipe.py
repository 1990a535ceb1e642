"""Which tensors of a graph are drawn, and drawing them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

#: Tensors of fewer bytes are kept: biases, norms, and what shapes are read from.
_LARGE = 32 * 2**10
#: A tensor whose first megabyte gets smaller than this share is no noise: a resizing, a table, zeros.
_COMPRESSIBLE = 0.6
_DTYPES: dict[int, np.dtype[Any]] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.FLOAT16: np.dtype(np.float16),
}


@dataclass(frozen=True)
class Drawn:
    """A tensor that is drawn.

    Attributes:
        name: of the initializer. It is the seed.
        dtype: "float32" or "float16".
        shape: its sizes.
        mean, deviation: of its numbers.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    mean: float
    deviation: float

    def draw(self) -> np.ndarray:
        """Return its numbers, the same on every machine."""
        generator = np.random.Generator(np.random.Philox(zlib.crc32(self.name.encode())))
        numbers = generator.standard_normal(self.shape, np.float32)
        numbers *= np.float32(self.deviation)
        numbers += np.float32(self.mean)
        return numbers.astype(self.dtype, copy=False)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def strip(path: Path) -> tuple[onnx.ModelProto, list[Drawn]]:
    """Read a graph. Return it without the numbers of its large tensors, and how to draw these."""
    model = onnx.load(path, load_external_data=False)
    drawn = []
    for tensor in model.graph.initializer:
        content = _content(tensor, path.parent)
        dtype = _DTYPES.get(tensor.data_type)
        if dtype is None or content.nbytes < _LARGE or _is_structured(content):
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
            if not tensor.int64_data and not tensor.float_data:
                tensor.raw_data = content.tobytes()
            continue
        numbers = content.view(dtype)
        mean, deviation = (float(f(numbers, dtype=np.float64)) for f in (np.mean, np.std))
        drawn.append(Drawn(tensor.name, dtype.name, tuple(tensor.dims), mean, deviation))
        for field in ("raw_data", "external_data"):
            tensor.ClearField(field)
        tensor.data_location = TensorProto.DEFAULT
    return model, drawn


def fill(model: onnx.ModelProto, drawn: Mapping[str, Drawn], path: Path) -> tuple[Path, ...]:
    """Draw the large tensors of a graph, and write it with a file of weights beside it if there are any."""
    files = [path]
    if drawn:
        weights = path.with_name(f"{path.name}.data")
        files.append(weights)
        with weights.open("wb") as file:
            for tensor in model.graph.initializer:
                if tensor.name in drawn:
                    file.write(b"\0" * (-file.tell() % 4096))
                    place, content = file.tell(), drawn[tensor.name].draw().tobytes()
                    file.write(content)
                    tensor.data_location = TensorProto.EXTERNAL
                    for key, value in (
                        ("location", weights.name),
                        ("offset", place),
                        ("length", len(content)),
                    ):
                        tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(model.SerializeToString())
    return tuple(files)


def _content(tensor: TensorProto, folder: Path) -> np.ndarray:
    """Return the bytes of a tensor, uint8. Those in a file are mapped."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return np.frombuffer(onnx.numpy_helper.to_array(tensor).tobytes(), np.uint8)
    place = dict(_entries(tensor))
    return np.memmap(
        folder / place["location"],
        np.uint8,
        "r",
        offset=int(place.get("offset", 0)),
        shape=(int(place["length"]),),
    )


def _entries(tensor: TensorProto) -> Iterator[tuple[str, str]]:
    for entry in tensor.external_data:
        yield entry.key, entry.value


def _is_structured(content: np.ndarray) -> bool:
    sample = content[: 2**20].tobytes()
    return len(zlib.compress(sample, 1)) < _COMPRESSIBLE * len(sample)
