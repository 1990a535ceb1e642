"""Builds of a few milliseconds: graphs and tokenizer are made up, everything around them is real."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.external_data_helper import set_external_data

from export.builders import Progress
from export.checked_export import CheckedExport, Task
from export.onnx_export import OnnxFile
from export.plan import Request
from export.stage_work import work_of
from export.stages import all_stages
from odise_trt.bundle.manifest import Manifest, Parity
from reference.checkpoint import load_weights
from reference.model import ODISE
from reference.preset import PRESETS
from tests.tiny_preset import TINY

#: Two stages that have a tensor in common, and one that has none.
STAGES = ("captioner", "clip_pool", "text_encoder")


class Log:
    """A reporter that remembers. `stop_at`: a step that is interrupted as by Ctrl-C."""

    def __init__(self, stop_at: str = "nowhere") -> None:
        self.begun: list[str] = []
        self.notes: list[str] = []
        self.steps = 0
        self._stop_at = stop_at

    def begin(self, steps: int) -> None:
        self.steps = steps

    def step(self, what: str) -> None:
        self.begun.append(what)
        if what.startswith(self._stop_at):
            raise KeyboardInterrupt

    def phase(self, name: str, done: int, total: int) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)

    def exported(self) -> list[str]:
        """The stages that were exported."""
        return [step.split()[0] for step in self.begun if "exporting" in step]

    def kept(self) -> list[str]:
        """The stages that were kept."""
        return [step.split()[0] for step in self.begun if step.endswith("kept")]


def quick_request(output: Path, **options: Any) -> Request:
    return Request("tiny", options.pop("weights", "random:7"), stages=STAGES, output=output, **options)


def make_quick(patch: pytest.MonkeyPatch) -> None:
    """Make builds of the preset "tiny" quick."""
    patch.setitem(PRESETS, "tiny", TINY)
    patch.setattr("export.build.load_model", lambda request: model_of(request.weights))
    patch.setattr("export.build.export_all", made_up)
    patch.setattr("export.build.require_room", lambda needs, preset: 0)
    patch.setattr("export.build.require_finite", lambda model: None)
    patch.setattr("export.forecast.work_of", cache(work_of))
    patch.setattr("export.unfinished.write_tokenizer", lambda path: path.write_text("{}"))
    patch.setattr("export.unfinished.check_tokenizer", lambda path, texts: None)


@cache
def model_of(weights: str) -> ODISE:
    return load_weights("tiny", weights)


def made_up(
    model: ODISE, tasks: Sequence[Task], request: Request, work: Path, progress: Progress
) -> Iterator[CheckedExport]:
    """Like `export_all`, with graphs of weights that nothing computes."""
    for task in tasks:
        wrapper = all_stages()[task.stage]
        precision = wrapper.computes_in(task.precision)
        folder = work / task.precision / task.stage
        folder.mkdir(parents=True)
        files = _graph(task.stage, request, folder)
        spec = wrapper.spec(TINY, precision, request.max_windows, request.image_sizes)
        row = Parity(task.stage, spec.outputs[0].name, "onnx", {}, 1e-6, 1e-6, 1e-4)
        yield CheckedExport(spec, precision, task, OnnxFile(files[0], files, {}), (row,), 0.1, 1000)


def _graph(stage: str, request: Request, folder: Path) -> tuple[Path, ...]:
    common = [] if stage == "text_encoder" else [_numbers(f"common {request.weights}", "common")]
    tensors = [*common, _numbers(f"{stage} {request.weights} {request.opset}", "own")]
    data, graph = folder / f"{stage}.onnx.data", folder / f"{stage}.onnx"
    with data.open("wb") as file:
        for tensor in tensors:
            set_external_data(tensor, data.name, file.tell(), len(tensor.raw_data))
            file.write(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
    onnx.save(helper.make_model(helper.make_graph([], stage, [], [], tensors)), graph)
    return graph, data


def _numbers(seed: str, name: str) -> onnx.TensorProto:
    generator = np.random.default_rng(list(seed.encode()))
    return numpy_helper.from_array(generator.random(4096, np.float32), name)


def content(folder: Path) -> dict[str, Any]:
    """A bundle's manifest, without what differs between two equal builds."""
    found = json.loads(json.dumps(asdict(Manifest.read(folder))))
    del found["created"]
    return dict(found)
