"""The two JSON files per stage that NVIDIA's TensorRT Engine Explorer (trex) opens.

The layers: {"Layers": [...], "Bindings": [names of inputs and outputs]}. The profile: [{"count": runs}, then
a record per layer, in the same order]. The rules of `problems` are those of trex's parser, in
tools/experimental/trt-engine-explorer of github.com/NVIDIA/TensorRT.
"""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: numpy's name of a type -> the viewer's name of such a tensor in plain row-major order.
FORMATS = {
    "float32": "Row major linear FP32",
    "float16": "Row major linear FP16 format",
    "bfloat16": "Row major linear BFloat16 format",
    "float64": "Double",
    "int64": "Row major linear Int64 format",
    "int32": "Row major linear Int32",
    "int8": "Row major Int8 format",
    "uint8": "Row major linear UInt8 format",
    "bool": "Row major linear BOOL",
}
#: Types of weights that the viewer knows the size of.
WEIGHTS = {"float32": "Float", "float16": "Half", "int32": "Int32", "int8": "Int8"}
#: The viewer drops layers of the first two types from its tables, and removes those of the last two.
UNTIMED = frozenset({"Constant", "NoOp", "signal", "wait"})

_OTHER_PROFILE = re.compile(r" *\[profile +[0-9]+\]")
_RECORD = ("name", "timeMs", "averageMs", "medianMs", "percentage")
_TENSOR = {"Name": str, "Dimensions": list, "Format/Datatype": str}


@dataclass(frozen=True)
class StageProfile:
    """A stage as layers, and the time of each.

    Attributes:
        layers: in the order in which they run, in the viewer's form.
        bindings: names of the inputs and outputs of the engine.
        milliseconds: name of a layer -> its time in every run. Layers that take none can be missing.
        queued: on a GPU these are times of the host, which queues the layers.
    """

    layers: Sequence[Mapping[str, Any]]
    bindings: Sequence[str]
    milliseconds: Mapping[str, Sequence[float]]
    queued: bool = False

    @property
    def runs(self) -> int:
        """How many runs were measured."""
        return max(map(len, self.milliseconds.values()), default=0)

    @property
    def timed(self) -> list[Mapping[str, Any]]:
        """The layers that the viewer has a time for."""
        return [layer for layer in self.layers if layer["LayerType"] not in UNTIMED]

    def median(self, name: str) -> float:
        """Return the median time of a layer in milliseconds."""
        return statistics.median(self.milliseconds.get(name) or (0.0,))

    def seconds_by_type(self) -> dict[str, float]:
        """Return type of layer -> seconds of one run, the largest first."""
        spent: dict[str, float] = {}
        for layer in self.timed:
            spent[layer["LayerType"]] = spent.get(layer["LayerType"], 0.0) + self.median(layer["Name"]) / 1000
        return dict(sorted(spent.items(), key=lambda one: -one[1]))

    def counts_by_type(self) -> dict[str, int]:
        """Return type of layer -> how many layers of it run, the most frequent first."""
        return dict(Counter(layer["LayerType"] for layer in self.timed).most_common())

    def layers_json(self) -> bytes:
        """Return the content of the file of layers."""
        return _content({"Layers": list(self.layers), "Bindings": list(self.bindings)})

    def profile_json(self) -> bytes:
        """Return the content of the file of times."""
        averages = {
            layer["Name"]: statistics.fmean(self.milliseconds.get(layer["Name"]) or (0.0,))
            for layer in self.timed
        }
        whole = sum(averages.values()) or 1.0
        records = [
            {
                "name": name,
                "timeMs": sum(self.milliseconds.get(name, ())),
                "averageMs": average,
                "medianMs": self.median(name),
                "percentage": 100 * average / whole,
            }
            for name, average in averages.items()
        ]
        return _content([{"count": self.runs}, *records])


def tensor(name: str, shape: Sequence[int], dtype: str) -> dict[str, Any]:
    """Return an input or output of a layer in the viewer's form. `dtype` is numpy's name."""
    return {"Name": name, "Dimensions": list(shape), "Format/Datatype": FORMATS.get(dtype, "Unknown format")}


def of_first_profile(name: str) -> str:
    """Return a name without TensorRT's "[profile 1]". By default the viewer shows only such names."""
    return _OTHER_PROFILE.sub("", name)


def problems(layers_file: Any, profile_file: Any) -> list[str]:
    """Return what keeps the viewer from opening two files, or from joining them. Empty: nothing does.

    Args:
        layers_file, profile_file: the parsed contents.
    """
    if not isinstance(layers_file, dict) or not isinstance(layers_file.get("Layers"), list):
        return ["the file of layers is no object with a list called Layers"]
    layers, bindings = layers_file["Layers"], layers_file.get("Bindings")
    if not layers or not all(isinstance(layer, dict) for layer in layers):
        return ["there are no layers, or only their names: build with detailed profiling verbosity"]
    found = [wrong for layer in layers for wrong in _problems_of(layer)]
    if not isinstance(bindings, list) or not any(_is_shown(name) for name in bindings):
        found.append("no binding belongs to the first profile")
    if found:
        return found
    names = [layer["Name"] for layer in layers if _is_shown(layer["Name"])]
    if not names:
        found.append("no layer belongs to the first profile")
    if len(set(names)) < len(names):
        found.append("two layers have one name, so the viewer renames one and finds no time for it")
    return found + _profile_problems(layers, profile_file)


def _profile_problems(layers: Sequence[Mapping[str, Any]], profile: Any) -> list[str]:
    if not isinstance(profile, list) or not all(isinstance(record, dict) for record in profile):
        return ["the profile is no list of objects"]
    # The viewer tells records from the count by their length.
    records = [record for record in profile if len(record) in (4, 5)]
    found = [
        f"record {record.get('name')} lacks {key}"
        for record in records
        for key in _RECORD
        if key not in record
    ]
    timed = [layer["Name"] for layer in layers if layer["LayerType"] not in UNTIMED]
    if not found and [record["name"] for record in records] != timed:
        found.append("the profile has other layers, or has them in another order")
    return found


def _problems_of(layer: Mapping[str, Any]) -> list[str]:
    name = layer.get("Name")
    if not isinstance(name, str) or not isinstance(layer.get("LayerType"), str):
        return [f"layer {name!r} has no Name or no LayerType"]
    found = []
    for side in ("Inputs", "Outputs"):
        tensors = layer.get(side)
        if not isinstance(tensors, list):
            found.append(f"layer {name} has no list of {side}")
            continue
        for one in tensors:
            found += [
                f"layer {name}: {side} without {key}"
                for key, kind in _TENSOR.items()
                if not isinstance(one.get(key), kind)
            ]
    if layer.get("ParameterType") == "Convolution" and not found:
        four = [len(one["Dimensions"]) == 4 for one in (*layer["Inputs"][:1], *layer["Outputs"][:1])]
        if four != [True, True] or len(layer.get("Kernel", ())) != 2 or "Groups" not in layer:
            found.append(f"layer {name}: a convolution needs Kernel, Groups, and maps of four dimensions")
    return found


def _is_shown(name: Any) -> bool:
    return isinstance(name, str) and not _OTHER_PROFILE.search(name)


def _content(data: Any) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()
