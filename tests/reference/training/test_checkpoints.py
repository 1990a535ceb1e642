"""Checkpoints that are damaged or edited: one message, and the way to the older one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from reference.errors import TrainingError
from reference.training.checkpoints import Checkpoints
from reference.training.distributed import Processes
from reference.training.recipe import prepare_output
from reference.training.trainer import Trainer
from tests.leftovers import name_of_a_dead_process
from tests.reference.training.squares import CONFIG, Squares
from tests.reference.training.tiny_training import tiny_model

MODEL = tiny_model()


def trainer(output: Path) -> Trainer:
    alone = Processes(torch.device("cpu"))
    return Trainer(MODEL, Squares(), CONFIG, output, alone, console=Console(quiet=True))


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory) -> Path:
    """An output folder with the checkpoints of steps 1 and 2."""
    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("two")
    run = trainer(output)
    data = run_batches()
    for _ in range(2):
        run._stepper.advance(lambda: next(data), 1e-4, run._stops)
        run._save()
    return output


def run_batches():
    from reference.training.loader import batches

    return batches(Squares(), CONFIG, captions=False, start=0)


def edited(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        state = torch.load(folder / "state.pt", weights_only=True)
        state = change(state) or state
        torch.save(state, folder / "state.pt")

    return damage


def cut(name: str, length: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


def moment_of_another_shape(state: dict) -> None:
    state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3, 3, 3)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "state cut off": cut("state.pt", 1000),
    "state empty": cut("state.pt", 0),
    "weights cut off": cut("trainable.safetensors", 5000),
    "weights empty": cut("trainable.safetensors", 0),
    "state gone": lambda folder: (folder / "state.pt").unlink(),
    "weights gone": lambda folder: (folder / "trainable.safetensors").unlink(),
    "everything gone": lambda folder: [path.unlink() for path in folder.iterdir()],
    "state is text": lambda folder: (folder / "state.pt").write_text("hello"),
    "state is a folder": lambda folder: ((folder / "state.pt").unlink(), (folder / "state.pt").mkdir()),
    "state is a list": edited(lambda state: [state]),
    "state has no recipe": edited(lambda state: state.pop("recipe") and None),
    "state has no optimizer": edited(lambda state: state.pop("optimizer") and None),
    "state is of another step": edited(lambda state: state.update(step=7)),
    "recipe is text": edited(lambda state: state.update(recipe="fast")),
    "optimizer is empty": edited(lambda state: state.update(optimizer={})),
    "moments are gone": edited(lambda state: state["optimizer"].update(state={})),
    "a moment has another shape": edited(moment_of_another_shape),
    "weights are a web page": lambda folder: (folder / "trainable.safetensors").write_text("<html>"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_checkpoint_is_named_with_the_older_one(what, two_checkpoints, tmp_path):
    output = tmp_path / "o"
    shutil.copytree(two_checkpoints, output)
    newest = output / "checkpoints" / "step-000002"
    DAMAGE[what](newest)
    with pytest.raises(TrainingError, match="the checkpoint of step 2 is damaged: ") as caught:
        trainer(output).resume()
    assert f"remove {newest}: --resume goes on after step 1" in str(caught.value)
    assert "None" not in str(caught.value)
    shutil.rmtree(newest)
    assert trainer(output).resume() == 1


def test_the_only_checkpoint_has_no_older_one_to_name(two_checkpoints, tmp_path):
    output = tmp_path / "o"
    shutil.copytree(two_checkpoints, output)
    shutil.rmtree(output / "checkpoints" / "step-000002")
    (output / "checkpoints" / "step-000001" / "state.pt").write_bytes(b"")
    with pytest.raises(TrainingError, match="there is no older checkpoint"):
        trainer(output).resume()


def test_what_is_no_checkpoint_is_none(tmp_path):
    for name in ("step-abc", "step-000003.bak", ".0123456789abcdef0123456789abcdef.tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000004").write_text("a file")
    assert Checkpoints(tmp_path, 2).steps() == []


def test_what_a_killed_process_left_goes_before_the_next_run(tmp_path):
    folder = tmp_path / "checkpoints"
    mine, theirs = folder / name_of_a_dead_process(), folder / ".notes.tmp"
    mine.mkdir(parents=True)
    theirs.mkdir()
    assert Checkpoints(folder, 2).steps() == []
    prepare_output(tmp_path)
    assert list(folder.iterdir()) == [theirs]


def test_checkpoints_by_time_do_not_push_out_those_by_steps(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2, every=10)
    for step in (7, 10, 13, 17, 20, 23, 24, 26):
        checkpoints.save(step, MODEL, {})
    assert checkpoints.steps() == [10, 20, 24, 26]
