"""Runs: stopped, killed and taken up again; alone and in company; what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from odise_trt.errors import OutputError, WeightsError
from reference.checkpoint import load_weights
from reference.device import choose_device
from reference.errors import DeviceError, TrainingError
from reference.losses import training_losses
from reference.training.checkpoints import Checkpoints
from reference.training.distributed import Processes
from reference.training.trainer import Trainer
from tests.processes import Running, free_port
from tests.reference.training.squares import CONFIG, Squares
from tests.reference.training.tiny_training import main, same_draws_losses, tiny_model
from tests.tiny_preset import TINY

PROGRAM = Path(__file__).with_name("tiny_training.py")
ALONE = Processes(torch.device("cpu"))
QUIET = Console(quiet=True)


def train(output: Path, *options: str, processes: int = 1) -> int:
    """Run the program; returns the exit status of all its processes."""
    port = str(free_port())
    started = []
    for rank in range(processes):
        # What torchrun tells the processes that it starts.
        together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
        environment = {**together, "RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}
        started.append(Running(main, [str(output), *options], environment=environment))
    statuses = {one.wait().status for one in started}
    assert len(statuses) == 1
    return statuses.pop()


def torchrun(output: Path, *options: str) -> int:
    """Run the program in two processes as users do; returns the exit status."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*start, str(PROGRAM), str(output), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, timeout=300, start_new_session=True)
    return run.returncode


def losses(output: Path) -> dict[int, dict[str, float]]:
    """All losses of every step, as logged."""
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert len({line["step"] for line in lines}) == len(lines)
    return {
        line["step"]: {k: v for k, v in line.items() if k.startswith("loss") or k == "gradient_norm"}
        for line in lines
    }


def same_model(*outputs: Path) -> bool:
    """Whether two runs came to the same numbers."""
    one, other = (load_weights(TINY, str(output / "model.safetensors")) for output in outputs)
    return all(map(torch.equal, one.parameters(), other.parameters()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run nobody disturbed."""
    output = tmp_path_factory.mktemp("whole")
    assert train(output) == 0
    return output


def test_a_killed_run_goes_on_as_if_nothing_had_happened(whole, tmp_path):
    assert train(tmp_path, "--checkpoint-steps=2", "--die-after=5") == -signal.SIGKILL
    assert Checkpoints(tmp_path / "checkpoints", 2).steps() == [2, 4]
    assert list(losses(tmp_path)) == [1, 2, 3, 4, 5]
    assert train(tmp_path, "--checkpoint-steps=2", "--resume") == 0
    assert losses(tmp_path) == losses(whole)
    assert same_model(tmp_path, whole)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_asked_to_stop_saves_first(whole, workers, tmp_path):
    # With workers: a signal to the whole group, as of Ctrl-C, leaves them alive for the step they read for.
    assert train(tmp_path, "--stop-after=3", f"--workers={workers}") == signal.SIGTERM
    assert Checkpoints(tmp_path / "checkpoints", 2).steps() == [3]
    assert not (tmp_path / "model.safetensors").exists()
    assert train(tmp_path, "--resume") == 0
    assert losses(tmp_path) == losses(whole)


def test_a_run_asked_to_stop_in_its_last_step_is_done(whole, tmp_path):
    assert train(tmp_path, "--stop-after=6") == 0
    assert same_model(tmp_path, whole)


def test_two_processes_do_what_one_does_with_all_images(tmp_path):
    options = ("--batch=4", "--steps=3", "--same-draws", "--whole")
    assert train(tmp_path / "one", *options) == 0
    assert train(tmp_path / "two", *options, processes=2) == 0
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == two.keys()
    for step, values in one.items():
        assert two[step] == pytest.approx(values, rel=2e-3), step


@pytest.mark.slow
def test_a_bad_picture_of_one_process_ends_all_of_them_and_what_was_learnt_is_kept(tmp_path):
    options = ("--bad-image=3", "--workers=1")
    assert torchrun(tmp_path, *options) == 1
    assert Checkpoints(tmp_path / "checkpoints", 2).steps() == [1]
    assert torchrun(tmp_path, *options, "--resume", "--skip-bad-images") == 0
    assert list(losses(tmp_path)) == [1, 2, 3, 4, 5, 6]


def test_the_trained_model_loads_with_the_labels_it_learnt(whole):
    model = load_weights(TINY, str(whole / "model.safetensors"))
    assert model.train_labels == (("square", "box"), ("disc",), ("ground",))
    assert model.preset.train_labels == model.train_labels
    assert model.criterion.empty_weight.tolist() == pytest.approx([1.0, 1.0, 1.0, 0.1])
    start = tiny_model()
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, start.get_parameter(n))}
    assert changed <= {n for n, p in start.named_parameters() if p.requires_grad}
    parts = ("alpha_cond", "feature_projections", "pixel_decoder", "predictor", "text_proj", "null_embed")
    assert all(any(part in name for name in changed) for part in parts)


def test_a_checkpoint_has_what_is_trained_and_takes_the_rest_from_elsewhere(whole):
    checkpoint = str(whole / "checkpoints" / "step-000006" / "trainable.safetensors")
    with pytest.raises(WeightsError, match="missing"):
        load_weights(TINY, checkpoint)
    whole_model = str(whole / "model.safetensors")
    joined = load_weights(TINY, checkpoint, frozen=whole_model)
    complete = load_weights(TINY, whole_model)
    assert joined.train_labels == complete.train_labels
    assert all(map(torch.equal, joined.state_dict().values(), complete.state_dict().values()))


def test_a_run_with_another_recipe_is_not_taken_up(whole):
    other = replace(CONFIG, learning_rate=2e-4, log_steps=3)
    trainer = Trainer(tiny_model(), Squares(), other, whole, ALONE, console=QUIET)
    with pytest.raises(TrainingError, match=r"learning_rate: 0.0001 then, 0.0002 now") as caught:
        trainer.resume()
    assert "log_steps" not in str(caught.value)


def test_a_new_run_does_not_overwrite_an_old_one(whole):
    with pytest.raises(TrainingError, match="--resume"):
        Trainer(tiny_model(), Squares(), CONFIG, whole, ALONE, console=QUIET).run()


def test_classes_that_are_not_the_models_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="squares has others"):
        Trainer(load_weights(TINY, "random:1"), Squares(), CONFIG, tmp_path, ALONE, console=QUIET)


def test_a_checkpoint_that_cannot_be_finished_leaves_the_old_ones(tmp_path):
    model, checkpoints = tiny_model(), Checkpoints(tmp_path, 2)
    checkpoints.save(1, model, {"recipe": {}})

    class Full:
        def __reduce__(self):
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        checkpoints.save(2, model, {"recipe": Full()})
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    assert checkpoints.load(1, model)["step"] == 1


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    model, checkpoints = tiny_model(), Checkpoints(tmp_path, 2)
    for step in (1, 2, 3):
        checkpoints.save(step, model, {})
    assert checkpoints.steps() == [2, 3]


def test_a_damaged_state_is_named(tmp_path):
    model, checkpoints = tiny_model(), Checkpoints(tmp_path, 2)
    state = checkpoints.save(1, model, {}) / "state.pt"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(TrainingError, match=r"state\.pt cannot be read"):
        checkpoints.load(1, model)


def test_a_step_in_parts_follows_the_mean_of_their_gradients(tmp_path):
    torch.set_num_threads(1)
    gradients = []
    for accumulate in (1, 2):
        # Each image has three segments, so that the mean of the parts is that of the images.
        config = replace(CONFIG, steps=1, batch=4, accumulate=accumulate, scales=(1.0, 1.0), clip_norm=1e9)
        model, output = tiny_model(), tmp_path / str(accumulate)
        trainer = Trainer(model, Squares(), config, output, ALONE, console=QUIET, losses=same_draws_losses)
        trainer.run()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    whole, parts = gradients
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_predictions_that_are_not_finite_stop_the_run_with_the_step(tmp_path):
    model = tiny_model()
    model.mask_head.predictor.query_feat.weight.data[0, 0] = float("nan")
    trainer = Trainer(model, Squares(), CONFIG, tmp_path, ALONE, console=QUIET)
    with pytest.raises(TrainingError, match="not finite, so no segment can be matched, at step 1"):
        trainer.run()
    assert not (tmp_path / "model.safetensors").exists()


def test_a_loss_scale_that_only_falls_stops_the_run(tmp_path):
    def overflowing(model, batch, *, generator, config):
        # Finite itself, with gradients that are not. The model computes nothing: seventeen steps cost little.
        term = sum(p.square().mean() for p in model.parameters() if p.requires_grad)
        return {"loss_ce": term + (term - term.detach()) * 1e38 * 1e38}

    trainer = Trainer(
        tiny_model(), Squares(), replace(CONFIG, steps=40), tmp_path, ALONE, console=QUIET, losses=overflowing
    )
    trainer._stepper.scaler = torch.amp.GradScaler("cpu")
    with pytest.raises(TrainingError, match="the gradient is not finite at step 17"):
        trainer.run()


def test_a_caption_alone_in_its_part_is_refused(tmp_path):
    preset = replace(TINY, kind="caption", category_prompt="a photo of a {}.")
    config = replace(CONFIG, accumulate=2)
    with pytest.raises(TrainingError, match="there is one image in it"):
        Trainer(tiny_model(preset), Squares(), config, tmp_path, ALONE, console=QUIET)


def test_one_gpu_for_many_processes_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DeviceError, match="cuda:1 was given to every process"):
        choose_device("cuda:1")


@pytest.mark.parametrize(("count", "message"), [(0, "finds no GPU"), (1, "no GPU 1; PyTorch sees 1")])
def test_a_gpu_that_is_not_there_is_refused(monkeypatch, count, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(DeviceError, match=message):
        choose_device("cuda:1")


@pytest.mark.gpu
@pytest.mark.parametrize("autocast", ["bf16", "fp16"])
def test_a_gpu_trains_in_half_precision(autocast, tmp_path):
    config = replace(CONFIG, autocast=autocast, steps=20)
    group = Processes(torch.device("cuda"))
    Trainer(tiny_model(), Squares(), config, tmp_path, group, console=QUIET).run()
    assert all(line["loss"] < float("inf") for line in losses(tmp_path).values())


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path):
    def broken(model, batch, *, generator, config):
        terms = training_losses(model, batch, generator=generator, config=config)
        return {name: term * float("nan") for name, term in terms.items()}

    trainer = Trainer(tiny_model(), Squares(), CONFIG, tmp_path, ALONE, console=QUIET, losses=broken)
    with pytest.raises(TrainingError, match="the loss is nan at step 1"):
        trainer.run()
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("autocast", ["none", pytest.param("bf16", marks=pytest.mark.slow)])
def test_the_loss_falls_on_images_seen_again_and_again(autocast, tmp_path):
    torch.set_num_threads(1)
    config = replace(
        CONFIG,
        steps=24,
        milestones=(),
        learning_rate=2e-3,
        clip_norm=1.0,
        scales=(1.0, 1.0),
        autocast=autocast,
    )
    Trainer(tiny_model(), Squares(), config, tmp_path, ALONE, console=QUIET).run()
    course = [line["loss"] for line in losses(tmp_path).values()]
    assert sum(course[-5:]) < 0.75 * sum(course[:5])


def test_a_caption_model_learns_from_words(tmp_path):
    torch.set_num_threads(1)
    preset = replace(TINY, kind="caption", category_prompt="a photo of a {}.")
    Trainer(tiny_model(preset), Squares(), replace(CONFIG, steps=2), tmp_path, ALONE, console=QUIET).run()
    assert {"loss_ce", "loss_mask", "loss_dice", "loss_mask_word", "loss_mask_word_2"} <= losses(tmp_path)[
        1
    ].keys()
    model = load_weights(preset, str(tmp_path / "model.safetensors"))
    assert not torch.equal(model.word_head.text_proj.weight, tiny_model(preset).word_head.text_proj.weight)
