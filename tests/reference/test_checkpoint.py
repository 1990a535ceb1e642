"""Weights under the official names: strict loading, writing, seeding."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from odise_trt.errors import WeightsError
from reference.checkpoint import (
    derived_constants,
    describe_weights,
    fill_random,
    load_official,
    load_weights,
    official_state_dict,
    slots,
)
from reference.errors import PresetError
from reference.model import ODISE
from reference.model.windows import image_features
from reference.preset import DEMO, GOLDEN_LABEL, PRESETS
from reference.weights.shipped import CAPTION, LABEL
from tests.golden_case import golden_weights
from tests.reference.golden_models import golden_model
from tests.reference.official_keys import official_keys

CLIP_COPIES = {
    "label": ["backbone.feature_extractor.clip.clip.", "category_head.clip.clip.", "clip_head.clip.clip."],
    "caption": ["backbone.feature_extractor.clip.clip.", "word_head.clip.clip.", "clip_head.clip.clip."],
}


def on_meta(preset: str) -> ODISE:
    with torch.device("meta"):
        return ODISE(PRESETS[preset])


@pytest.fixture(scope="module")
def demo() -> ODISE:
    return load_weights("demo", "random:1")


@pytest.fixture
def demo_file(demo, tmp_path) -> Callable[..., str]:
    """Writes the demo model as a safetensors file, changed as asked."""

    def write(change: Callable[[dict[str, Tensor]], object] = lambda _: None, *, half: bool = False) -> str:
        state = {name: tensor.clone() for name, tensor in official_state_dict(demo, copies=False).items()}
        if half:
            state = {k: t.half() if t.is_floating_point() else t for k, t in state.items()}
        change(state)
        path = tmp_path / "weights.safetensors"
        save_file(state, path)
        return str(path)

    return write


@pytest.mark.parametrize("preset", ["odise-label", "odise-caption"])
def test_names_and_shapes_are_exactly_the_official_ones(preset):
    keys = official_keys(preset)
    official = {name: tuple(shape) for name, shape in (keys["trainable_checkpoint"] | keys["frozen"]).items()}
    state = official_state_dict(on_meta(preset))
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == official


@pytest.mark.parametrize("preset", ["odise-label", "odise-caption"])
def test_parameters_are_as_many_as_officially(preset):
    counts, model = official_keys(preset)["param_counts"], on_meta(preset)
    parameters = list(model.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    assert trainable == counts["trainable"]
    assert sum(p.numel() for p in parameters) - trainable == counts["frozen_with_single_clip"]
    assert sum(p.numel() for p in model.clip.parameters()) == counts["one_clip"]
    named = {
        name: slot.tensor.numel()
        for slot in slots(model)
        if isinstance(slot.tensor, torch.nn.Parameter)
        for name in slot.names
    }
    assert sum(named.values()) == counts["total"]
    for group, count in counts["groups"].items():
        path = f".{group.removeprefix('FROZEN ').rstrip('.')}."
        part = [size for name, size in named.items() if path in f".{name}."]
        assert sum(part) == count, group


def test_the_demo_preset_has_no_text_encoder_to_load():
    assert not any("cond_stage_model" in name for name in official_state_dict(on_meta("demo")))


@pytest.mark.parametrize("kind", ["label", "caption"])
def test_official_files_load_completely_and_are_written_back_the_same(kind):
    written = official_state_dict(golden_model(kind))
    assert written.keys() == golden_weights(kind).keys()
    constants = derived_constants(golden_model(kind).preset)
    for name, tensor in golden_weights(kind).items():
        if name in constants:
            torch.testing.assert_close(written[name].double(), tensor.double(), rtol=1e-4, atol=1e-8)
        else:
            assert torch.equal(written[name], tensor), name


@pytest.mark.parametrize("kind", ["label", "caption"])
def test_clip_is_in_memory_once(kind):
    state = official_state_dict(golden_model(kind))
    pointers = {state[prefix + "visual.conv1.weight"].data_ptr() for prefix in CLIP_COPIES[kind]}
    assert len(pointers) == 1
    single = official_state_dict(golden_model(kind), copies=False)
    assert [prefix for prefix in CLIP_COPIES[kind] if f"{prefix}logit_scale" in single] == CLIP_COPIES[kind][
        :1
    ]


def test_a_copy_of_clip_that_differs_is_refused():
    weights = dict(golden_weights("label"))
    name = "clip_head.clip.clip.visual.proj"
    weights[name] = weights[name].clone()
    weights[name][3, 4] += 0.5
    with pytest.raises(WeightsError, match=r"clip_head\.clip\.clip\.visual\.proj differ"):
        load_official(ODISE(GOLDEN_LABEL), weights)


def test_a_schedule_other_than_stable_diffusions_is_refused():
    weights = dict(golden_weights("label"))
    name = "backbone.feature_extractor.ldm_extractor.ldm.ldm.betas"
    weights[name] = torch.linspace(1e-4, 2e-2, 1000)
    with pytest.raises(WeightsError, match="betas is not the constant of Stable Diffusion"):
        load_official(ODISE(GOLDEN_LABEL), weights)


def test_a_released_checkpoint_without_frozen_parts_is_refused_with_what_is_missing():
    weights = {
        name: tensor
        for name, tensor in golden_weights("label").items()
        if ".clip." not in name and "ldm_extractor" not in name
    }
    with pytest.raises(WeightsError) as error:
        load_official(ODISE(GOLDEN_LABEL), weights)
    clips = sum(name.startswith("clip_head.clip.clip.") for name in golden_weights("label"))
    frozen = sum("ldm_extractor" in name for name in golden_weights("label"))
    assert f"missing: {clips + frozen} (" in str(error.value)
    assert "unexpected: 0" in str(error.value)
    assert "give the frozen part as well" in str(error.value)


def test_a_file_in_half_precision_is_used_in_single(demo, demo_file):
    model = load_weights("demo", demo_file(half=True))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not model.training
    for ours, original in zip(slots(model), slots(demo), strict=True):
        assert torch.equal(ours.tensor, original.tensor.half().float()), ours.names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("category_head.null_embed"), r"missing: 1 \(category_head.null_embed\)"),
        (lambda state: state.update(surplus=torch.zeros(1)), r"unexpected: 1 \(surplus\)"),
        (
            lambda state: state.update({"category_head.null_embed": torch.zeros(1, 7)}),
            r"category_head.null_embed has shape \(1, 7\), the preset needs \(1, 64\)",
        ),
        (
            lambda state: state.update({"category_head.null_embed": torch.zeros(1, 64, dtype=torch.int8)}),
            "category_head.null_embed is int8, not floating point",
        ),
    ],
)
def test_a_file_that_does_not_fit_says_what_does_not(demo_file, change, message):
    with pytest.raises(WeightsError, match=message):
        load_weights("demo", demo_file(change))


def test_weights_of_another_preset_are_refused(demo_file):
    with pytest.raises(WeightsError, match="do not fit preset 'golden-label'"):
        load_weights("golden-label", demo_file())


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_a_file_that_is_not_safetensors_is_refused(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"cannot be read as safetensors|weights\.safetensors is empty"):
        load_weights("demo", str(path))


@pytest.mark.parametrize(
    ("preset", "source", "message"),
    [
        ("demo", "nowhere.safetensors", "there is no weights file nowhere.safetensors"),
        ("demo", "random:", "has no seed"),
        ("demo", "random:-1", "has no seed"),
        ("odise-label", "demo", "the demo weights do not fit preset 'odise-label'"),
    ],
)
@pytest.mark.parametrize("function", [load_weights, describe_weights])
def test_an_impossible_source_is_named(function, preset, source, message):
    with pytest.raises(WeightsError, match=message):
        function(preset, source)


@pytest.mark.parametrize("function", [load_weights, describe_weights])
def test_an_unknown_preset_is_named_with_the_one_that_was_meant(function):
    with pytest.raises(PresetError, match="there is no preset 'odise-labels'") as caught:
        function("odise-labels", "random:0")
    assert str(caught.value.hint).startswith("did you mean odise-label? presets: odise-label, odise-caption")


def test_seeded_weights_are_the_same_every_time_and_differ_by_seed(demo):
    again, other = load_weights(DEMO, "random:1"), load_weights(DEMO, "random:2")
    for slot, same, different in zip(slots(demo), slots(again), slots(other), strict=True):
        assert torch.equal(slot.tensor, same.tensor), slot.names
        fixed = slot.names[0] == "criterion.empty_weight" or slot.names[0].endswith("shared_noise")
        assert torch.equal(slot.tensor, different.tensor) == fixed, slot.names


def test_seeded_weights_leave_no_parameter_constant(demo):
    for slot in slots(demo):
        if isinstance(slot.tensor, torch.nn.Parameter) and slot.tensor.numel() > 1:
            assert slot.tensor.std() > 0, slot.names
        assert slot.tensor.isfinite().all(), slot.names
    assert 0 < demo.clip.logit_scale.item() < 10


def test_seeded_weights_depend_on_a_parameters_name_and_not_on_its_preset():
    caption = load_weights("golden-caption", "random:1")
    label = load_weights("golden-label", "random:1")
    by_name = {slot.names[0]: slot.tensor for slot in slots(caption)}
    shared = [slot for slot in slots(label) if slot.names[0] in by_name]
    assert len(shared) > 500
    different = [s.names[0] for s in shared if not torch.equal(s.tensor, by_name[s.names[0]])]
    # Not a parameter: the weight of each class in the loss, of which there are more or fewer.
    assert different == ["criterion.empty_weight"]


def test_seeded_weights_say_so_and_files_have_their_hash(demo_file):
    text = hashlib.sha256(b"random:0").hexdigest()
    seeded = {"source": "random:0", "sha256": text, "seeded": True}
    assert describe_weights("odise-label", "random:0") == seeded
    path = demo_file()
    expected = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    described = describe_weights("demo", path)
    assert described == {"source": "weights.safetensors", "sha256": expected, "seeded": False}


def test_the_shipped_weights_are_trained_and_the_caption_model_shares_their_frozen_part():
    described = describe_weights("demo", "demo")
    assert described["source"] == "demo"
    assert not described["seeded"]
    assert described["sha256"] == hashlib.sha256(LABEL.read_bytes()).hexdigest()
    assert sum(path.stat().st_size for path in (LABEL, CAPTION)) <= 25_000_000
    label, caption = load_weights("demo", "demo"), load_weights("demo-caption", "demo")
    assert torch.equal(label.clip.text_projection, caption.clip.text_projection)
    assert torch.equal(label.captioner.uncond_inputs, caption.captioner.uncond_inputs)
    first, second = (model.mask_head.predictor.query_feat.weight for model in (label, caption))
    assert not torch.equal(first, second)
    assert label.captioner.alpha_cond.abs().max() > 0


def test_the_demo_weights_fit_no_other_preset():
    with pytest.raises(WeightsError, match="do not fit preset 'odise-label'"):
        describe_weights("odise-label", "demo")


@torch.no_grad()
def test_seeded_weights_give_masks_that_differ():
    model = load_weights("demo", "random:0")
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    masks = model.mask_head(*image_features(model.backbone, image)).pred_masks[0] > 0
    covered = masks.float().mean((1, 2))
    # Neither empty nor full, nor one mask thirty-two times.
    assert ((covered > 0.02) & (covered < 0.98)).float().mean() > 0.8
    assert (masks[0] != masks[1:]).float().mean() > 0.05
    # Share of the pixels of the first mask or another that only one of them has.
    assert ((masks[0] != masks[1:]).sum((1, 2)) / (masks[0] | masks[1:]).sum((1, 2))).mean() > 0.05


def test_seeding_overwrites_whatever_was_there():
    model = ODISE(DEMO)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    fill_random(model, 0)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
