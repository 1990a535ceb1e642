r"""How long pictures take in C++ and in Python, with the same engines and the same words.

    python -m tests.cpp.beside_python build/cpp engines/demo-openvino-fp32
    python -m tests.cpp.beside_python build/gpu engines/demo-onnxruntime_cuda-fp16 --pictures large
    python -m tests.cpp.beside_python build/cpp engines/odise-label-onnxruntime-fp32 --engine openvino \
        --threads 2 --pictures photo --tasks panoptic --rounds 1 --warm 0 --runs 1

Both sides run in processes of their own that take turns, on a CPU with one thread. The least time of all
runs counts: other programs only make a run longer. "median" is the least of the processes' medians. "around"
is the sum of all steps but the four that are engines on both sides; on a GPU all steps are queued and waited
for as one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from odise_trt import Segmenter, Vocabulary
from odise_trt.preprocess import load_image
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp import library as through_c
from tests.cpp.same_results import PHOTO, WORDS

PICTURES = ("photo", "scene", "large")
TASKS = ("panoptic", "semantic")
SIDES = ("python", "cpp")
#: Engines on both sides.
ENGINES = {"captioner", "features", "mask_head", "clip_pool"}

#: Segments the picture, and returns its ids and the seconds of each step.
Call = Callable[[], tuple[np.ndarray, Mapping[str, float]]]


def given(picture: str) -> tuple[np.ndarray, Vocabulary]:
    """Return a picture, uint8 (H, W, 3), and its words."""
    if picture == "photo":
        return np.ascontiguousarray(load_image(PHOTO)), WORDS
    if picture == "large":
        # What `odise-trt bench gpu` takes: 1024 x 1024 pixels, 133 categories.
        return np.asarray(Image.fromarray(load_image(PHOTO)).resize((1024, 1024))), Vocabulary.preset("coco")
    return np.ascontiguousarray(make_scene(1).image), SCENE_VOCABULARY


def opened_in_python(options: argparse.Namespace, words: Vocabulary) -> Segmenter:
    """Return Python's segmenter."""
    return Segmenter.open(
        options.bundle,
        vocabulary=words,
        device=options.device,
        threads=options.threads,
        verify="size",
        cache=False,
    )


def python_side(options: argparse.Namespace, picture: str, task: str) -> Call:
    """Return what segments the picture in Python."""
    pixels, words = given(picture)
    segmenter = opened_in_python(options, words)

    def call() -> tuple[np.ndarray, Mapping[str, float]]:
        result = segmenter.results(pixels, (task,))[task]  # type: ignore[arg-type, index]
        ids = result.panoptic if task == "panoptic" else result.semantic
        assert ids is not None
        return ids, result.timings

    return call


def cpp_side(options: argparse.Namespace, picture: str, task: str) -> Call:
    """The same with libodise_trt, and the words that Python encoded."""
    pixels, _ = given(picture)
    library = through_c.Library(options.build / "libodise_trt.so")
    engine = {} if options.engine is None else {"engine": options.engine}
    opened = library.open(options.bundle, threads=options.threads, verify_sizes_only=1, **engine)
    opened.set_table(options.folder / f"{picture}.npz")
    height, width, _ = pixels.shape

    def call() -> tuple[np.ndarray, Mapping[str, float]]:
        # The library reads the pixels where they are: the function has to hold them.
        image = through_c.Image(data=pixels.ctypes.data, width=width, height=height)
        with opened.result(image, task) as result:
            pointer = getattr(library, f"result_{task}")(result)
            return np.ctypeslib.as_array(pointer, (height, width)).copy(), dict(opened._timings(result))

    return call


def measured(call: Call, warm: int, runs: int) -> tuple[np.ndarray, dict[str, float]]:
    """Return the ids, wall and CPU milliseconds of a picture, and those of the steps around the engines."""
    for _ in range(warm):
        call()
    wall, cpu, steps = [], [], dict[str, float]()
    for _ in range(runs):
        begin = time.perf_counter(), time.process_time()
        ids, timings = call()
        wall.append(time.perf_counter() - begin[0])
        cpu.append(time.process_time() - begin[1])
        for name, seconds in timings.items():
            steps[name] = min(steps.get(name, seconds), seconds)
    around = sum(seconds for name, seconds in steps.items() if name not in ENGINES)
    found = {"wall": min(wall), "median": statistics.median(wall), "cpu": min(cpu), "around": around}
    return ids, {name: 1e3 * seconds for name, seconds in found.items()}


def run_side(options: argparse.Namespace, side: str, picture: str, task: str) -> dict[str, float]:
    """Do what `--side` says in this process. The ids are written to the folder."""
    if side == "table":
        # Not in the process of the C++ side: both sides bring an ONNX Runtime of their own.
        with opened_in_python(options, given(picture)[1]) as segmenter:
            segmenter.save_table(options.folder / f"{picture}.npz")
        return {}
    call = (python_side if side == "python" else cpp_side)(options, picture, task)
    ids, found = measured(call, options.warm, options.runs)
    np.save(options.folder / f"{side}.npy", ids)
    return found


def in_process(folder: Path, *side: str) -> dict[str, float]:
    """Do the same in a process of its own."""
    words = [*sys.argv[1:], "--folder", str(folder), "--side", *side]
    command = [sys.executable, "-m", "tests.cpp.beside_python", *words]
    return dict(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))


def main() -> None:
    """Measure the pictures and tasks, or with --side one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("build", type=Path, help="where libodise_trt was built")
    parser.add_argument("bundle", type=Path, help="a bundle whose engines both sides run")
    parser.add_argument("--rounds", type=int, default=4, help="processes for each side")
    parser.add_argument("--runs", type=int, default=12, help="measured pictures in each process")
    parser.add_argument("--warm", type=int, default=3, help="pictures before them")
    parser.add_argument("--pictures", nargs="+", choices=PICTURES, default=PICTURES[:2])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--engine", help="of C++; default: that of the bundle")
    parser.add_argument("--device", help="of Python, like cuda; default: that of the bundle's backend")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", nargs=3, metavar=("SIDE", "PICTURE", "TASK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(run_side(options, *options.side)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for picture in options.pictures:
            in_process(folder, "table", picture, "")
            for task in options.tasks:
                least: dict[str, dict[str, float]] = {}
                for turn in range(options.rounds):
                    for side in SIDES if turn % 2 else reversed(SIDES):
                        found = in_process(folder, side, picture, task)
                        best = least.setdefault(side, found)
                        least[side] = {name: min(best[name], value) for name, value in found.items()}
                for side in SIDES:
                    numbers = ", ".join(f"{name} {value:.1f} ms" for name, value in least[side].items())
                    print(f"{picture}, {task}, {side}: {numbers}", flush=True)
                mine, theirs = (np.load(folder / f"{side}.npy") for side in SIDES)
                differ = np.count_nonzero(mine != theirs)
                print(f"{picture}, {task}: {differ} of {mine.size} pixels differ", flush=True)


if __name__ == "__main__":
    main()
