"""A model that is read on demand has the numbers of one that is loaded, and only where they are asked for."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from odise_trt.errors import WeightsError
from reference.checkpoint import load_weights, save_weights
from reference.model import ODISE
from reference.on_demand import LARGE, OnDemand, each, holding, model_bytes, open_model
from reference.preset import DEMO, ODISE_LABEL

SMALL = 2**14
CAPTIONER = "backbone.feature_extractor."


@pytest.fixture(scope="module")
def whole() -> ODISE:
    return load_weights("demo", "random:7")


@pytest.fixture(scope="module", params=["random:7", "a file"])
def model(request: pytest.FixtureRequest, whole: ODISE, tmp_path_factory: pytest.TempPathFactory) -> OnDemand:
    source = request.param
    if source == "a file":
        source = str(tmp_path_factory.mktemp("weights") / "demo.safetensors")
        save_weights(Path(source), whole)
    return OnDemand("demo", source, SMALL)


def large(model: OnDemand) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.named_parameters() if value.is_meta}


def test_every_number_is_that_of_the_loaded_model(model: OnDemand, whole: ODISE) -> None:
    expected = whole.state_dict()
    assert len(large(model)) > 100
    with model.holding(large(model)):
        found = model.state_dict()
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert len(large(model)) > 100


def test_what_is_not_held_takes_no_memory_and_computes_nothing(model: OnDemand) -> None:
    assert sum(value.nbytes for value in large(model).values()) > 0.9 * model_bytes(DEMO)
    windows = torch.zeros(1, 3, 128, 128)
    with pytest.raises((RuntimeError, NotImplementedError)):
        model.captioner(windows)


def test_a_part_computes_what_it_computes_in_the_whole_model(model: OnDemand, whole: ODISE) -> None:
    names = [name for name, _ in model.named_parameters() if name.startswith(CAPTIONER)]
    windows = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), model.holding(names):
        for found, expected in zip(model.captioner(windows), whole.captioner(windows), strict=True):
            assert torch.equal(found, expected)
    assert any(name.startswith(CAPTIONER) for name in large(model))


def test_a_module_in_two_places_is_held_in_both(model: OnDemand) -> None:
    name = next(name for name in large(model) if "clip.visual" in name)
    with model.holding([name]):
        tensors = model.state_dict(keep_vars=True)
        twins = [other for other, value in tensors.items() if value is tensors[name]]
        assert len(twins) > 1
        assert not tensors[name].is_meta


def test_blocks_may_be_nested(model: OnDemand) -> None:
    first, second, *_ = large(model)
    with model.holding([first]):
        with model.holding([first, second]):
            assert not large(model).keys() & {first, second}
        assert first not in large(model)
        assert second in large(model)
    assert {first, second} <= large(model).keys()


def test_an_error_in_a_block_gives_the_memory_back(model: OnDemand) -> None:
    first, *_ = large(model)
    with pytest.raises(ZeroDivisionError), model.holding([first]):
        raise ZeroDivisionError
    assert first in large(model)


def test_every_tensor_of_a_file_is_seen_once(whole: ODISE, tmp_path: Path) -> None:
    save_weights(tmp_path / "demo.safetensors", whole)
    expected = dict(each(whole))
    found = list(each(OnDemand("demo", str(tmp_path / "demo.safetensors"), SMALL)))
    assert sorted(name for name, _ in found) == sorted(expected)
    assert all(torch.equal(value, expected[name]) for name, value in found)


def test_a_number_that_is_none_is_found_where_it_is_not_held(whole: ODISE, tmp_path: Path) -> None:
    other = copy.deepcopy(whole)
    with torch.no_grad():
        other.clip.token_embedding.weight[7, 3] = torch.nan
    save_weights(tmp_path / "demo.safetensors", other)
    found = dict(each(OnDemand("demo", str(tmp_path / "demo.safetensors"), SMALL)))
    (name,) = [name for name, value in found.items() if value.isnan().any()]
    assert name.endswith("token_embedding.weight")


def test_a_file_that_does_not_fit_is_refused_by_its_names(whole: ODISE, tmp_path: Path) -> None:
    path = tmp_path / "heads.safetensors"
    save_weights(path, whole, part="trainable")
    with pytest.raises(WeightsError, match="missing"):
        OnDemand("demo", str(path))


def test_small_models_are_loaded_whole() -> None:
    assert model_bytes(DEMO) < LARGE < model_bytes(ODISE_LABEL)
    loaded = open_model("demo", "random:7")
    assert not isinstance(loaded, OnDemand)
    with holding(loaded, ["anything"]):
        pass


def test_what_projects_texts_is_always_there(whole: ODISE) -> None:
    model = OnDemand("demo", "random:7", small=0)
    assert not any(value.is_meta for value in model.text_head.parameters())
    assert torch.equal(model.category_head.null(), whole.category_head.null())
