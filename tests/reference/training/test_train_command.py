"""`python -m reference.train` on data of one's own, from pictures on disk to a model that can be exported."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from export.model_spec import model_spec
from odise_trt.coco_panoptic import encode_ids
from odise_trt.errors import OdiseError, WeightsError
from reference.ablation import Ablation
from reference.checkpoint import load_frozen, load_weights, save_weights
from reference.preset import find_preset
from reference.training.cli import _say_what_next, train
from reference.training.initialise import initialise
from reference.training.start import Start
from reference.weights.safetensors_file import write_weights
from tests.door import call, verb
from tests.reference.training.squares import Squares

ROOT = Path(__file__).resolve().parents[3]
#: The names of a user's data; none of them is a training label of the demo preset.
LABELS = (("purse", "handbag"), ("mug",), ("shelf",))


@pytest.fixture(scope="module")
def own_data(tmp_path_factory) -> Path:
    """Four pictures in COCO's panoptic format."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("images", "panoptic"):
        (folder / name).mkdir()
    images, annotations = [], []
    for index in range(4):
        example = Squares()[index]
        Image.fromarray(example.image).save(folder / "images" / f"{index}.png")
        Image.fromarray(encode_ids(example.panoptic)).save(folder / "panoptic" / f"{index}.png")
        images.append({"id": index, "file_name": f"{index}.png", "height": 64, "width": 64})
        segments = [
            {"id": s.id, "category_id": 10 + s.category, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]}
            for s in example.segments
        ]
        annotations.append({"image_id": index, "file_name": f"{index}.png", "segments_info": segments})
    categories = [
        {"id": 10 + index, "name": name, "synonyms": synonyms, "isthing": int(index < 2)}
        for index, (name, *synonyms) in enumerate(LABELS)
    ]
    file = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "panoptic.json").write_text(json.dumps(file))
    return folder


TRAIN = verb("reference.training.cli:train")


@pytest.fixture(scope="module")
def trained(own_data, tmp_path_factory):
    """Two steps of the demo preset on those pictures: the folder, and what was said."""
    output = tmp_path_factory.mktemp("trained")
    run = call(
        TRAIN,
        *("--preset", "demo", "--frozen", "random:0", "--dataset", "panoptic", "--data", own_data),
        *("--output", output, "--steps", 2, "--batch", 2, "--image-size", 128, "--points", 256),
        *("--workers", 0, "--log-steps", 1, "--device", "cpu"),
    )
    assert run.status == 0, run.stderr
    return output, run


def test_the_command_says_what_it_trains_how_it_goes_and_what_comes_next(trained):
    output, run = trained
    assert "are trained" in run.stderr
    assert "step 2: loss" in run.stderr
    assert f"--preset demo --weights {output / 'model.safetensors'}" in run.stdout


def test_the_exporter_gets_the_labels_of_the_data(trained):
    model = load_weights("demo", str(trained[0] / "model.safetensors"))
    assert model.train_labels == LABELS
    assert model_spec(model.preset).train_labels == LABELS
    assert model.criterion.empty_weight.shape == (4,)


def test_training_leaves_the_frozen_part_alone(trained):
    model, frozen = (
        load_weights("demo", str(trained[0] / "model.safetensors")),
        load_frozen("demo", "random:0"),
    )
    for name, parameter in frozen.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(parameter, model.get_parameter(name)), name


def test_without_data_or_weights_the_command_says_what_to_give():
    run = call(TRAIN, "--preset", "demo")
    assert run.status == 1
    assert "give --dataset KIND and --data PATH" in run.stderr


def said(*options: str) -> tuple[int, str]:
    """Exit status and messages of the command, called in this process."""
    app = typer.Typer()
    app.command()(train)
    result = CliRunner().invoke(app, options, env={"COLUMNS": "200", "TERM": "dumb"})
    error = result.exception
    return result.exit_code, result.output + (str(error) if isinstance(error, OdiseError) else "")


@pytest.mark.parametrize("option", ["--weights", "--frozen", "--output", "--data"])
def test_an_empty_option_is_no_folder_and_no_file(option):
    status, text = said("--preset", "demo", option, "")
    assert status != 0
    assert f"'{option}': it is empty" in text


@pytest.mark.parametrize("options", [["--steps", "3"], ["--resume"], ["--output", "o", "--seed", "1"]])
def test_options_of_training_are_refused_where_nothing_is_trained(options):
    status, text = said("--preset", "demo", "--show-parameters", *options)
    assert status == 1
    assert "--show-parameters trains nothing" in text
    assert all(option in text for option in options if option.startswith("--"))


def test_what_is_trained_is_shown_for_a_preset_and_its_ablations():
    status, text = said("--preset", "demo", "--show-parameters", "--captioner", "empty")
    assert status == 0
    assert "are trained" in text


@pytest.mark.parametrize("number", ["nan", "inf", "-1"])
def test_minutes_that_make_no_sense_are_refused(number):
    options = ("--preset", "demo", "--frozen", "demo", "--dataset", "panoptic", "--data", ".")
    status, text = said(*options, "--checkpoint-minutes", number)
    assert status != 0
    assert "checkpoint" in text


def test_the_printed_command_can_be_pasted(capsys):
    paper = Ablation.parse(captioner="implicit", timesteps="0", features="diffusion")
    model = Path("aus gabe ü [final]/o'clock/model.safetensors")
    _say_what_next(model, Start(find_preset("demo"), paper), 0, 3)
    command = capsys.readouterr().out.splitlines()[-1].removeprefix("engines of it: ")
    assert shlex.split(command)[-2:] == ["--weights", str(model)]


def test_frozen_parts_come_from_a_file_with_or_without_the_rest(tmp_path):
    model = load_weights("demo", "random:5")
    save_weights(tmp_path / "whole.safetensors", model)
    save_weights(tmp_path / "frozen.safetensors", model, part="frozen")
    for name in ("whole", "frozen"):
        loaded = load_frozen("demo", str(tmp_path / f"{name}.safetensors"))
        initialise(loaded, 0)
        for path, parameter in model.named_parameters():
            if not parameter.requires_grad:
                assert torch.equal(parameter, loaded.get_parameter(path)), path
        assert all(torch.isfinite(p).all() for p in loaded.parameters())
    with pytest.raises(WeightsError, match="missing"):
        load_weights("demo", str(tmp_path / "frozen.safetensors"))


def test_a_caption_model_takes_its_frozen_part_from_a_label_model(tmp_path):
    label = load_weights("golden-label", "random:5")
    save_weights(tmp_path / "label.safetensors", label)
    caption = load_frozen("golden-caption", str(tmp_path / "label.safetensors"))
    assert torch.equal(caption.clip.visual.proj, label.clip.visual.proj)
    assert torch.equal(caption.backbone.diffusion.shared_noise, label.backbone.diffusion.shared_noise)


def test_labels_that_are_no_list_of_names_are_refused(tmp_path):
    path = tmp_path / "odd.safetensors"
    write_weights(path, {"x": torch.zeros(1)}, (("a",), ()))
    with pytest.raises(WeightsError, match="states its training labels in another form"):
        load_weights("demo", str(path))


def test_weights_without_labels_are_for_those_of_the_preset(tmp_path):
    from safetensors.torch import save_file

    from reference.checkpoint import official_state_dict

    path = tmp_path / "official.safetensors"
    save_file(official_state_dict(load_weights("demo", "random:0"), copies=False), path)
    assert load_weights("demo", str(path)).preset == find_preset("demo")
    assert np.prod(load_weights("demo", str(path)).criterion.empty_weight.shape) > 1
