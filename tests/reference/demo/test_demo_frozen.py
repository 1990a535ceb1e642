"""The small frozen models are trained on what they should be."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from reference.demo import crops, scene_store, train_clip, train_vae
from reference.model.clip import Clip
from reference.model.diffusion import build_vae
from reference.model.open_vocabulary import tokenize
from reference.preset import DEMO, DEMO_TRAIN_LABELS, ClipPreset
from reference.scenes import SCENE_VOCABULARY, make_scene
from reference.scenes.captions import describe
from reference.scenes.words import only_synonyms, training_names


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> scene_store.SceneStore:
    return scene_store.draw(tmp_path_factory.mktemp("scenes"), 100, 6, 96)


def test_a_store_holds_the_scenes_of_its_seeds(scenes: scene_store.SceneStore) -> None:
    scene = make_scene(103, 96, 96)
    assert np.array_equal(scenes.images[3], scene.image)
    assert np.array_equal(scenes.maps[3], scene.panoptic)
    assert scenes.categories[3] == tuple(segment.category_id for segment in scene.segments)


def test_a_thing_that_is_left_out_is_in_no_scene_and_the_rest_stays(tmp_path: Path) -> None:
    name, category = scene_store.NOVEL, SCENE_VOCABULARY.names.index(scene_store.NOVEL)
    seed = next(s for s in range(60) if category in {g.category_id for g in make_scene(s, 96, 96).segments})
    scene, without = make_scene(seed, 96, 96), make_scene(seed, 96, 96, without=[name])
    assert category not in {segment.category_id for segment in without.segments}
    other = {segment.category_id for segment in scene.segments} - {category}
    assert other <= {segment.category_id for segment in without.segments}
    kept = scene_store.draw(tmp_path, seed, 1, 96, without=(name,))
    assert np.array_equal(kept.images[0], without.image)


def test_captions_name_what_is_there_under_any_of_its_names() -> None:
    house = SCENE_VOCABULARY.names.index("house")
    rng = np.random.default_rng(0)
    captions = {describe([house], SCENE_VOCABULARY, rng) for _ in range(200)}
    assert all(any(word in caption for word in ("house", "cottage", "building")) for caption in captions)
    assert {"a photo of a house.", "a photo of a cottage.", "a building."} <= captions
    many = describe([house] * 2 + [0], SCENE_VOCABULARY, np.random.default_rng(1))
    assert "two " in many
    assert "sky" in many


def test_a_crop_tells_of_every_category_with_a_hundredth_of_it(scenes: scene_store.SceneStore) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        sample = crops.square(scenes, rng, 48, 1.0)
        # The whole scene: find it again by its contents.
        possible = []
        for ids, categories in zip(scenes.maps, scenes.categories, strict=True):
            areas = np.bincount(ids.ravel(), minlength=len(categories) + 1)[1:]
            possible.append(
                frozenset(c for c, area in zip(categories, areas, strict=True) if area >= 0.01 * 96 * 96)
            )
        assert sample.contents in possible
        assert sample.image.shape == (48, 48, 3)


def test_a_close_up_of_a_thing_shows_it(scenes: scene_store.SceneStore) -> None:
    by_category = crops.segments_by_category(scenes)
    assert sum(len(rows) for rows in by_category) == sum(map(len, scenes.categories))
    sample = crops.close_up(scenes, by_category, np.random.default_rng(2), 32)
    (category,) = sample.contents
    assert any(
        name in sample.caption or name[:3] in sample.caption for name in SCENE_VOCABULARY.synonyms[category]
    )


def _clip() -> Clip:
    torch.manual_seed(0)
    sizes = dict(embed_dim=16, image_size=28, patch_size=14, vision_width=64, vision_layers=1, vision_heads=1)
    return Clip(ClipPreset(**sizes, text_width=64, text_layers=2, text_heads=1))


def test_captions_without_their_padding_are_embedded_as_with_it() -> None:
    clip, tokens = _clip(), tokenize(["a cottage.", "two rocks and sky."], 77)
    shorter = train_clip.trimmed(tokens)
    assert shorter.shape[1] < 12
    expected = clip.embed_text(tokens)
    assert torch.allclose(clip.embed_text(shorter), expected, atol=1e-5)


def test_captions_of_equal_contents_are_equally_right() -> None:
    """With all embeddings equal every caption gets 1/3, and the loss is ln 3 whatever the targets are."""
    clip = _clip()
    image = np.zeros((28, 28, 3), np.uint8)
    one, two = frozenset({1}), frozenset({2})
    samples = [crops.Captioned(image, "a rock.", contents) for contents in (one, one, two)]
    assert float(train_clip.contrastive_loss(clip, samples)) == pytest.approx(math.log(3), abs=1e-4)


def test_equal_contents_lower_the_best_loss_to_the_entropy_of_their_target() -> None:
    """A perfect model of two equal samples and one other: entropies ln 2, ln 2 and 0."""
    clip = _clip()
    embed = torch.eye(16)[[0, 0, 1]]
    clip.embed_image = lambda images: embed  # type: ignore[method-assign, assignment]
    captions = ["a rock.", "a rock.", "sky."]
    clip.logit_scale.data.fill_(10.0)
    tokens = tokenize(captions, 77)
    states = train_clip.text_states(clip, train_clip.trimmed(tokens))
    end = tokens.argmax(1)
    # A projection that sends the two texts to the two axes.
    texts = torch.stack([states[0, end[0]], states[2, end[2]]])
    clip.text_projection.data = torch.linalg.pinv(texts) @ torch.eye(16)[:2]
    image = np.zeros((28, 28, 3), np.uint8)
    contents = [frozenset({1}), frozenset({1}), frozenset({2})]
    samples = [crops.Captioned(image, caption, c) for caption, c in zip(captions, contents, strict=True)]
    assert float(train_clip.contrastive_loss(clip, samples)) == pytest.approx(2 / 3 * math.log(2), abs=1e-3)


def test_scaling_the_latents_leaves_the_round_trip_as_it_was(scenes: scene_store.SceneStore) -> None:
    torch.manual_seed(0)
    vae = build_vae(DEMO.vae).eval()
    vae.requires_grad_(False)
    image = train_clip.to_planes([crops.window(scenes, np.random.default_rng(5), 64)]) * 2 - 1
    before = vae.encode(image).latent_dist
    round_trip = vae.decode(before.mean).sample
    train_vae.normalise_latents(vae, scenes, 64, 0.18215)
    after = vae.encode(image).latent_dist
    assert torch.allclose(vae.decode(after.mean).sample, round_trip, atol=1e-4)
    # What is sampled is scaled as a whole, deviation included.
    ratio = after.mean.norm() / before.mean.norm()
    assert torch.allclose(after.std / before.std, ratio.expand_as(after.std), rtol=1e-3)
    again = train_vae.normalise_latents(vae, scenes, 64, 0.18215)
    assert again == pytest.approx(1.0, abs=1e-3)


def test_training_words_and_synonyms_are_told_apart() -> None:
    trained = {name for names in DEMO_TRAIN_LABELS for name in names}
    names, synonyms = training_names(), only_synonyms()
    assert set(names.names) == trained | {scene_store.NOVEL}
    untrained = {n for c in synonyms.categories for n in c.names} - trained
    assert {"cottage", "boulder", "automobile"} <= untrained
    assert [c.isthing for c in synonyms.categories] == [c.isthing for c in SCENE_VOCABULARY.categories]
    for category, original in zip(synonyms.categories, SCENE_VOCABULARY.categories, strict=True):
        assert set(category.names) <= set(original.names)
