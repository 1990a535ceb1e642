"""How long pictures take in C++ and in Python, with the same engines and the same words.

    python -m tests.cpp.beside_python build/cpp engines/demo-openvino-fp32

Both sides run in processes of their own that take turns, with one thread. The least time of all runs counts:
other programs only make a run longer. "around" is the sum of all steps but the four that are engines on both
sides.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from odise_trt import Segmenter, Vocabulary
from odise_trt.preprocess import load_image
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp import library as through_c
from tests.cpp.same_results import PHOTO, WORDS

PICTURES = ("photo", "scene")
TASKS = ("panoptic", "semantic")
SIDES = ("python", "cpp")
#: Engines on both sides.
ENGINES = {"captioner", "features", "mask_head", "clip_pool"}

Call = Callable[[], Mapping[str, float]]


def given(picture: str) -> tuple[np.ndarray, Vocabulary]:
    """Return a picture, uint8 (H, W, 3), and its words."""
    if picture == "photo":
        return np.ascontiguousarray(load_image(PHOTO)), WORDS
    return np.ascontiguousarray(make_scene(1).image), SCENE_VOCABULARY


def python_side(bundle: Path, picture: str, task: str) -> Call:
    """Return what segments the picture in Python, and gives the seconds of each step."""
    pixels, words = given(picture)
    segmenter = Segmenter.open(bundle, vocabulary=words, threads=1, verify="size")
    return lambda: segmenter.results(pixels, (task,))[task].timings  # type: ignore[arg-type, index]


def cpp_side(build: Path, bundle: Path, picture: str, task: str, folder: Path) -> Call:
    """The same with libodise_trt."""
    pixels, words = given(picture)
    with Segmenter.open(bundle, vocabulary=words, threads=1, verify="size") as segmenter:
        table = segmenter.save_table(folder / "words.npz")
    library = through_c.Library(build / "libodise_trt.so")
    opened = library.open(bundle, threads=1, verify_sizes_only=1)
    opened.set_table(table)
    height, width, _ = pixels.shape

    def call() -> Mapping[str, float]:
        # The library reads the pixels where they are: the function has to hold them.
        image = through_c.Image(data=pixels.ctypes.data, width=width, height=height)
        with opened.result(image, task) as result:
            return dict(opened._timings(result))

    return call


def measured(call: Call, runs: int) -> dict[str, float]:
    """Return the least wall and CPU milliseconds of a picture, and of the steps around the engines."""
    for _ in range(3):
        call()
    wall, cpu, steps = [], [], dict[str, float]()
    for _ in range(runs):
        begin = time.perf_counter(), time.process_time()
        timings = call()
        wall.append(time.perf_counter() - begin[0])
        cpu.append(time.process_time() - begin[1])
        for name, seconds in timings.items():
            steps[name] = min(steps.get(name, seconds), seconds)
    around = sum(seconds for name, seconds in steps.items() if name not in ENGINES)
    return {"wall": 1e3 * min(wall), "cpu": 1e3 * min(cpu), "around": 1e3 * around}


def main() -> None:
    """Measure all pictures and tasks, or with --side one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("build", type=Path, help="where libodise_trt was built")
    parser.add_argument("bundle", type=Path, help="a bundle whose engines both sides run")
    parser.add_argument("--rounds", type=int, default=4, help="processes for each side")
    parser.add_argument("--runs", type=int, default=12, help="measured pictures in each process")
    parser.add_argument("--side", nargs=3, metavar=("SIDE", "PICTURE", "TASK"), help="one of them, as JSON")
    options = parser.parse_args()
    if options.side:
        side, picture, task = options.side
        with tempfile.TemporaryDirectory() as folder:
            call = (
                python_side(options.bundle, picture, task)
                if side == "python"
                else cpp_side(options.build, options.bundle, picture, task, Path(folder))
            )
            print(json.dumps(measured(call, options.runs)))
        return
    for picture in PICTURES:
        for task in TASKS:
            least: dict[str, dict[str, float]] = {}
            for turn in range(options.rounds):
                for side in SIDES if turn % 2 else reversed(SIDES):
                    words = [*sys.argv[1:], "--side", side, picture, task]
                    command = [sys.executable, "-m", "tests.cpp.beside_python", *words]
                    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                    found = json.loads(done.stdout)
                    best = least.setdefault(side, found)
                    least[side] = {name: min(best[name], value) for name, value in found.items()}
            for side in SIDES:
                numbers = ", ".join(f"{name} {value:.1f} ms" for name, value in least[side].items())
                print(f"{picture}, {task}, {side}: {numbers}", flush=True)


if __name__ == "__main__":
    main()
