"""However a run ends, its last whole step is kept, and going on from there changes no number."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from rich.console import Console

from odise_trt.errors import ImageError, OutputError
from reference.errors import DatasetError, DivergedError, LoaderError, TrainingError
from reference.model import ODISE
from reference.training import recipe
from reference.training.checkpoints import Checkpoints
from reference.training.distributed import Processes
from reference.training.trainer import Trainer
from tests.reference.training.squares import CONFIG, Damaged, Deadly, Squares
from tests.reference.training.tiny_training import tiny_model

ALONE = Processes(torch.device("cpu"))
QUIET = Console(quiet=True)
FOUR = replace(CONFIG, steps=4, milestones=(3,))


@cache
def the_model() -> tuple[ODISE, dict[str, torch.Tensor]]:
    """The one model of all runs here, and its start: to build it takes longer than to train it."""
    model = tiny_model()
    return model, {name: tensor.clone() for name, tensor in model.state_dict().items()}


def quick_losses(model, batch, *, generator, config):
    """Losses that cost nothing, and depend on the weights, the images and the random numbers of a step."""
    seen = batch.images.float().mean() / 255 + torch.rand((), generator=generator)
    return {"loss_ce": sum((p - seen).pow(2).mean() for p in model.parameters() if p.requires_grad)}


def trainer(output: Path, data=None, *, losses=quick_losses, console=QUIET, **changes) -> Trainer:
    torch.set_num_threads(1)
    config = replace(FOUR, **changes)
    model, start = the_model()
    model.load_state_dict(start)
    model.zero_grad()
    data = data or Squares()
    return Trainer(model, data, config, output, ALONE, console=console, losses=losses)


def at_step(number: int, happen: Callable[[], object]):
    """Losses of which those of step `number` do something first."""
    calls = 0

    def losses(model, batch, *, generator, config):
        nonlocal calls
        calls += 1
        if calls == number:
            happen()
        return quick_losses(model, batch, generator=generator, config=config)

    return losses


def raising(error: BaseException) -> Callable[[], object]:
    def happen() -> None:
        raise error

    return happen


def kept(output: Path) -> list[int]:
    return Checkpoints(output / "checkpoints", 2).steps()


def weights(run: Trainer) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in run._model.parameters()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[torch.Tensor]:
    run = trainer(tmp_path_factory.mktemp("undisturbed"))
    run.run()
    return weights(run)


ERRORS = {
    "an error of PyTorch": RuntimeError("CUDA error: device-side assert triggered"),
    "a GPU without memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "no memory": MemoryError(),
    "no room": OSError(errno.ENOSPC, "No space left on device"),
    "a fault of ours": KeyError("pred_masks"),
    "Ctrl-C where no handler is": KeyboardInterrupt(),
    "an exit": SystemExit(3),
}


@pytest.mark.parametrize("what", ERRORS)
def test_whatever_ends_a_run_its_last_step_is_kept_and_going_on_changes_nothing(what, undisturbed, tmp_path):
    with pytest.raises(BaseException) as caught:  # noqa: PT011 (all there are)
        trainer(tmp_path, losses=at_step(3, raising(ERRORS[what]))).run()
    assert kept(tmp_path) == [2]
    if "memory" in what:
        assert isinstance(caught.value, TrainingError)
        assert str(caught.value).startswith("there is not enough memory for step 3")
        assert f"step 2 is kept in {tmp_path / 'checkpoints' / 'step-000002'}" in str(caught.value)
    else:
        assert caught.value is ERRORS[what]
    again = trainer(tmp_path)
    assert again.resume() == 2
    assert again.run() == 0
    assert all(map(torch.equal, weights(again), undisturbed))


@pytest.mark.parametrize(
    "error",
    [
        ImageError("images/3.png is damaged: broken data stream", "a truncated download?"),
        DatasetError("panoptic/3.png has no segment 7"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "panoptic/3.png"),
    ],
)
def test_a_bad_picture_is_one_message_with_the_ways_out(error, tmp_path):
    with pytest.raises((ImageError, DatasetError)) as caught:
        trainer(tmp_path, Damaged([3], error)).run()
    lines = str(caught.value).splitlines()
    assert "3.png" in lines[0]
    assert "Traceback" not in str(caught.value)
    step = kept(tmp_path)[-1]
    assert f"step {step + 1} needs it" in lines[-2]
    assert "--skip-bad-images" in lines[-2]
    assert lines[-1].endswith("go on with the same command and --resume")
    mended = trainer(tmp_path, skip_bad_images=True)
    assert mended.resume() == step
    assert mended.run() == 0


def test_an_error_of_a_loader_arrives_as_it_was_raised(tmp_path):
    error = ImageError("images/3.png is damaged: broken data stream", "a truncated download?")
    with pytest.raises(ImageError) as caught:
        trainer(tmp_path, Damaged([3], error), workers=1).run()
    assert caught.value.message == error.message
    assert kept(tmp_path) == [1]


def test_a_fault_of_the_program_in_a_loader_is_one_line_and_its_traceback_a_note(tmp_path):
    with pytest.raises(TrainingError) as caught:
        trainer(tmp_path, Damaged([3], TypeError("'NoneType' object\nis not iterable"))).run()
    assert caught.value.message == "images/3.png cannot be read: TypeError: 'NoneType' object"
    assert "Traceback" not in str(caught.value)
    assert "in _sample" in caught.value.__notes__[0]


def test_a_loader_that_is_killed_is_told_as_that_and_what_was_learnt_is_kept(tmp_path):
    with pytest.raises(LoaderError, match=r"it was killed, most often because memory ran out") as caught:
        trainer(tmp_path, Deadly(), workers=1, steps=40).run()
    assert "--workers 0" in str(caught.value)
    # The loader was ahead: the steps that it had read for are done.
    assert kept(tmp_path) in ([], [1])


def test_bad_pictures_that_are_skipped_are_named_once_and_counted(tmp_path, capsys):
    error = ImageError("images/3.png is damaged")
    run = trainer(
        tmp_path, Damaged([3], error), skip_bad_images=True, steps=8, console=Console(stderr=True, width=200)
    )
    assert run.run() == 0
    said = capsys.readouterr().err
    assert said.count("left out: images/3.png is damaged") == 1
    assert "pictures left out, as they cannot be read: 1" in said
    assert '"skipped_images": 1' in (tmp_path / "log.jsonl").read_text().splitlines()[-1]


def test_going_on_skips_the_same_pictures(tmp_path):
    data = Damaged([0, 3], ImageError("damaged"))
    whole = trainer(tmp_path / "whole", data, skip_bad_images=True)
    whole.run()
    expected = weights(whole)
    with pytest.raises(RuntimeError):
        trainer(
            tmp_path / "parts", data, skip_bad_images=True, losses=at_step(3, raising(RuntimeError()))
        ).run()
    rest = trainer(tmp_path / "parts", data, skip_bad_images=True)
    rest.resume()
    rest.run()
    assert all(map(torch.equal, weights(rest), expected))


def test_where_no_picture_can_be_read_the_run_says_so(tmp_path):
    with pytest.raises(ImageError, match="damaged"):
        trainer(tmp_path, Damaged(range(5), ImageError("damaged")), skip_bad_images=True)


@pytest.mark.parametrize("diverges_at", [1, 3])
def test_a_run_that_diverged_says_where_good_weights_are_if_there_are_any(diverges_at, tmp_path):
    calls = 0

    def losses(model, batch, *, generator, config):
        nonlocal calls
        calls += 1
        terms = quick_losses(model, batch, generator=generator, config=config)
        factor = float("nan") if calls == diverges_at else 1.0
        return {name: term * factor for name, term in terms.items()}

    with pytest.raises(DivergedError, match=f"the loss is nan at step {diverges_at}") as caught:
        trainer(tmp_path, losses=losses).run()
    if diverges_at == 1:
        assert "nothing was learnt yet: start again with a lower --learning-rate" in str(caught.value)
        assert "checkpoint" not in str(caught.value)
    else:
        good = tmp_path / "checkpoints" / "step-000002" / "trainable.safetensors"
        assert good.is_file()
        assert f"the weights after step 2 are in {good}" in str(caught.value)
        assert "--resume" not in str(caught.value)


def test_half_an_update_is_never_kept(tmp_path, monkeypatch):
    run = trainer(tmp_path, checkpoint_steps=2)
    step = run._stepper._optimizer.step

    def half(*arguments, **options):
        if run.step == 3:
            next(iter(run._stepper._optimizer.param_groups[0]["params"])).data.add_(1)
            raise RuntimeError("in the middle")
        return step(*arguments, **options)

    monkeypatch.setattr(run._stepper._optimizer, "step", half)
    with pytest.raises(RuntimeError, match="in the middle"):
        run.run()
    assert kept(tmp_path) == [2]


def test_a_second_request_in_the_middle_of_an_update_waits_for_its_end(tmp_path, monkeypatch):
    run = trainer(tmp_path)
    step = run._stepper._optimizer.step

    def interrupted(*arguments, **options):
        if run.step == 1:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        return step(*arguments, **options)

    monkeypatch.setattr(run._stepper._optimizer, "step", interrupted)
    with pytest.raises(SystemExit) as caught:
        run.run()
    assert caught.value.code == 128 + signal.SIGTERM
    assert kept(tmp_path) == [2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_after_its_step(number, tmp_path):
    assert trainer(tmp_path, losses=at_step(2, lambda: signal.raise_signal(number))).run() == number
    assert kept(tmp_path) == [2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_same_signal_again_ends_it_at_once_and_keeps_the_step_before(number, tmp_path):
    def twice() -> None:
        signal.raise_signal(number)
        signal.raise_signal(number)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer(tmp_path, losses=at_step(3, twice)).run()
    assert kept(tmp_path) == [2]


def test_a_checkpoint_is_written_when_its_time_has_come(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr("reference.training.trainer.monotonic", lambda: now)
    saved = []
    save = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, step, *rest: (saved.append(step), save(self, step, *rest))[1]
    )

    def later() -> None:
        nonlocal now
        now += 240.0

    trainer(tmp_path, steps=8, losses=every_step(later)).run()
    # Steps take four minutes: after ten minutes is after the third.
    assert saved == [3, 6, 8]


def every_step(happen: Callable[[], object]):
    def losses(model, batch, *, generator, config):
        happen()
        return quick_losses(model, batch, generator=generator, config=config)

    return losses


def test_the_default_writes_a_checkpoint_every_ten_minutes():
    assert recipe.recipe_of(CONFIG, {})["checkpoint_minutes"] == 10


def full(of: set[str]) -> Callable[..., object]:
    """`Path.open` of a disk that is full for files of these names."""
    ordinary = Path.open

    def opened(self: Path, mode: str = "r", *arguments, **options):
        if self.name in of and mode[0] in "wax":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return ordinary(self, mode, *arguments, **options)

    return opened


def test_a_log_that_cannot_be_written_ends_the_run_with_a_checkpoint(tmp_path, monkeypatch):
    def fill() -> None:
        monkeypatch.setattr(Path, "open", full({"log.jsonl"}))

    with pytest.raises(OutputError, match=r"log\.jsonl cannot be written: No space left on device") as caught:
        trainer(tmp_path, losses=at_step(3, fill)).run()
    assert kept(tmp_path) == [3]
    assert "step 3 is kept in" in str(caught.value)


def test_where_a_checkpoint_cannot_be_written_either_the_older_one_is_named(tmp_path, monkeypatch):
    def fill() -> None:
        monkeypatch.setattr(Path, "open", full({"log.jsonl", "state.pt"}))

    with pytest.raises(OutputError, match=r"log\.jsonl cannot be written") as caught:
        trainer(tmp_path, losses=at_step(3, fill), checkpoint_steps=2).run()
    assert kept(tmp_path) == [2]
    assert "step 3 is lost" in str(caught.value)
    assert "step-000003 cannot be written: No space left on device" in str(caught.value)
    assert "step 2 is kept in" in str(caught.value)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000002"]


def test_an_output_folder_that_is_removed_meanwhile_is_made_again(tmp_path):
    output = tmp_path / "o"
    run = trainer(output, losses=at_step(3, lambda: shutil.rmtree(output)))
    assert run.run() == 0
    assert kept(output) == [4]
    assert (output / "model.safetensors").is_file()
    assert len((output / "log.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "log.jsonl"])
def test_files_of_something_else_are_not_replaced(name, tmp_path):
    (tmp_path / name).write_text("{}\n")
    with pytest.raises(OutputError, match=f"has {name} of something else"):
        trainer(tmp_path).run()
    assert (tmp_path / name).read_text() == "{}\n"


def test_a_run_that_ended_before_its_first_checkpoint_is_begun_again(tmp_path):
    with pytest.raises(RuntimeError):
        trainer(tmp_path, losses=at_step(1, raising(RuntimeError()))).run()
    assert (tmp_path / "config.json").is_file()
    assert trainer(tmp_path).run() == 0


def test_a_trained_model_is_not_replaced(tmp_path):
    trainer(tmp_path, steps=1, milestones=()).run()
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(OutputError, match="has the model of another run"):
        trainer(tmp_path).run()


@pytest.mark.parametrize("name", ["checkpoints", "model.safetensors", "log.jsonl", "config.json"])
def test_what_will_be_in_the_way_is_found_before_the_first_step(name, tmp_path):
    path = tmp_path / name
    path.write_text("") if name == "checkpoints" else path.mkdir()
    with pytest.raises(OutputError, match="is not a folder" if name == "checkpoints" else "is a folder"):
        trainer(tmp_path)


def test_a_disk_without_room_for_a_checkpoint_is_found_before_the_first_step(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(OutputError, match=r"has room for 1\.0 MB, a checkpoint takes 3\.\d MB"):
        trainer(tmp_path).run()


class Few(Squares):
    """One picture, in which no segment is."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int):
        example = super().__getitem__(index)
        return replace(example, panoptic=example.panoptic * 0, segments=())


def test_one_picture_without_a_segment_is_trained_on_without_a_fault(tmp_path):
    assert trainer(tmp_path, Few()).run() == 0


def test_a_run_is_not_taken_up_with_fewer_steps_than_it_has_done(tmp_path):
    trainer(tmp_path).run()
    with pytest.raises(TrainingError, match="steps: 4 then, 2 now"):
        trainer(tmp_path, steps=2).resume()


def test_more_steps_are_another_run_and_the_way_to_it_is_told(tmp_path):
    trainer(tmp_path).run()
    with pytest.raises(TrainingError) as caught:
        trainer(tmp_path, steps=9, milestones=(8,), warmup_steps=1).resume()
    assert caught.value.message == "the checkpoint is of another run\n  steps: 4 then, 9 now"
    hint = str(caught.value.hint)
    assert "the number of steps, which cannot change" in hint
    assert f"--weights {tmp_path}/checkpoints/step-000004/trainable.safetensors, with --frozen" in hint


class More(Squares):
    """A data set that has grown."""

    def __len__(self) -> int:
        return 7


def test_a_data_set_that_has_changed_since_the_checkpoint_is_told_and_trained_on(tmp_path, capfd):
    trainer(tmp_path).run()
    aloud = Console(stderr=True, width=200)
    trainer(tmp_path, console=aloud).resume()
    assert capfd.readouterr().err == ""
    assert trainer(tmp_path, More(), console=aloud).resume() == 4
    assert "had 5 images, it has 7 now" in capfd.readouterr().err
