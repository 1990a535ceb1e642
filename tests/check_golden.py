"""Compare the reference with outputs of the official code: `python -m tests.check_golden CASE.npz`.

Prints a line per output (name, distance, verdict) and exits with status 1 when one is off. A tensor may be
1e-4 away, relative L2, in its recorded elements and in the statistics of the whole; maps may differ in one
pixel of a thousand.

The model takes hard decisions: a pixel is in a mask or is not. Rounding alone turns one that is a tie, and
then a small mask pools something else. So an output that is further away is measured against such turns:
everything after the backbone runs twice more, with all mask logits raised and lowered by their rounding.
Where one of these gives the recorded output, or our own jumps by as much as it is away, the verdict is
"tie".

A training step may differ by 1e-4 in every loss and by 1e-3 of the largest element in every gradient; the
matches are the same. Gradients that come through the UNet carry its rounding, magnified: the official way
rounds as the official code did, the pruned way runs in double precision instead, which takes minutes.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import torch

from odise_trt.errors import OdiseError
from reference.model import ODISE
from reference.oracle import Way
from tests.golden_case import GOLDENS, GoldenCase, Run, load_golden_model
from tests.golden_outputs import NEVER, WHOLE, Output, Statistics, computed, recorded
from tests.golden_training import TrainingCase

#: Rounding of a mask logit relative to the root mean square of all: how far the official code is from
#: itself in double precision.
TIE = 4e-5
#: Turned decisions may add up; an output may be this many times further away than it jumps.
TURNS = 2.0
#: The stages that take decisions, or read what was decided.
DECIDED = ("decoder", "category_head", "word_head", "clip_head", "post")
#: Computed by the official code and read by nothing, so the pruned way does not have it.
UNREAD = (".ldm.unet_out", ".ldm.decoded")


class Row(NamedTuple):
    """One comparison; `verdict` is "ok", "tie" or "OFF"."""

    name: str
    distance: float
    verdict: str


def check(case: GoldenCase, model: ODISE, way: Way = "official") -> list[Row]:
    """Run a case and compare every output of its file.

    On one thread: how many there are decides in which order sums are taken, and so which ties turn.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return compare(case, model, way, case.run(model, way))
    finally:
        torch.set_num_threads(threads)


def compare(case: GoldenCase, model: ODISE, way: Way, run: Run) -> list[Row]:
    """Compare every output of a file with a run of it; `model` and `way` made the run."""
    golden, ours = _read(recorded(case), way), computed(case, run)
    rows = [_row(name, output, ours) for name, output in golden.items()]
    if any(row.verdict == "OFF" for row in rows):
        turned = _turned(case, model, way, run)
        rows = [
            row._replace(verdict="tie") if _is_tie(row, golden[row.name], ours, turned) else row
            for row in rows
        ]
    return rows


def check_training(case: TrainingCase, model: ODISE, way: Way = "official") -> list[Row]:
    """Run a training step and compare every output of its file; on one thread, as `check`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = case.run(model, way, torch.float32 if way == "official" else torch.float64)
    finally:
        torch.set_num_threads(threads)
    ours = case.computed(run)
    return [_row(name, output, ours) for name, output in _read(case.recorded(), way).items()]


def stage(name: str) -> str:
    """The stage an output belongs to."""
    first, _, rest = name.partition(".")
    if first[0] == "w" and first[1:].isdecimal():
        if rest.startswith(("clip.", "ldm.cond_")):
            return "captioner"
        return "ldm" if rest.startswith("ldm.") else "backbone"
    known = ("backbone", "pixel_decoder", "decoder", "category_head", "word_head", "clip_head")
    if first == "padded_image_shape":
        return "backbone"
    return first if first in known else "post"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.check_golden", description=__doc__.split("\n")[0])
    parser.add_argument("case", type=Path, help="an .npz file of the format of tests/goldens")
    parser.add_argument("--weights", type=Path, default=GOLDENS, help="folder with the weights of the case")
    parser.add_argument("--way", choices=("official", "pruned"), default="official")
    arguments = parser.parse_args()
    try:
        training = TrainingCase.recognises(arguments.case)
        case = TrainingCase.load(arguments.case) if training else GoldenCase(arguments.case)
        model = load_golden_model(case.kind, arguments.weights)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, OdiseError) as error:
        sys.exit(f"cannot check {arguments.case}: {error}")
    if isinstance(case, TrainingCase):
        rows = check_training(case, model, arguments.way)
    else:
        rows = check(case, model, arguments.way)
    width = max(len(row.name) for row in rows)
    for row in rows:
        print(f"{row.name:<{width}}  {row.distance:9.2e}  {row.verdict}")
    off = sum(row.verdict == "OFF" for row in rows)
    ties = sum(row.verdict == "tie" for row in rows)
    print(f"{len(rows)} outputs of {arguments.case.name}: {off} off, {ties} explained by ties")
    sys.exit(1 if off or not rows else 0)


def _read(golden: dict[str, Output], way: Way) -> dict[str, Output]:
    """The outputs that a way has."""
    if way == "official":
        return golden
    return {name: x for name, x in golden.items() if not name.removesuffix(WHOLE).endswith(UNREAD)}


def _row(name: str, golden: Output, ours: dict[str, Output]) -> Row:
    distance = golden.distance(ours[name]) if name in ours else NEVER
    # A NaN compares false, and so is off.
    return Row(name, distance, "ok" if distance <= golden.tolerance else "OFF")


def _turned(case: GoldenCase, model: ODISE, way: Way, run: Run) -> list[dict[str, Output]]:
    """Our outputs with all ties turned one way, and with all turned the other way."""
    rounding = TIE * float(run.taps["decoder.pred_masks"].square().mean().sqrt())
    return [computed(case, case.rerun_head(model, way, run, shift)) for shift in (rounding, -rounding)]


def _is_tie(row: Row, golden: Output, ours: dict[str, Output], turned: list[dict[str, Output]]) -> bool:
    """Whether turned ties explain an output that is off."""
    if row.verdict != "OFF" or row.name not in ours or stage(row.name) not in DECIDED:
        return False
    if any(golden.distance(outputs[row.name]) <= golden.tolerance for outputs in turned):
        return True
    jump = sum(ours[row.name].distance(outputs[row.name]) for outputs in turned)
    if isinstance(golden, Statistics):
        tensor = row.name.removesuffix(WHOLE)
        moved = sum(ours[tensor].distance(outputs[tensor]) for outputs in turned)
        jump = max(jump, golden.leverage * moved)
    return golden.tolerance < jump < NEVER and row.distance <= TURNS * jump


if __name__ == "__main__":
    main()
