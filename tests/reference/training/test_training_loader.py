"""Batches follow from the seed and the step alone."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
from dataclasses import replace
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from odise_trt.errors import ImageError, OdiseError
from reference.errors import LoaderError, TrainingError
from reference.training.loader import batches, check_truth
from reference.training.reading import Parts, Samples
from tests.reference.training.squares import CONFIG, Cramped, Squares


def images(config=CONFIG, *, start=0, rank=0, world=1, captions=False):
    return list(batches(Squares(), config, captions=captions, start=start, rank=rank, world=world))


def test_every_epoch_has_every_image_once_in_an_order_of_its_own():
    samples = Samples(Squares(), CONFIG, captions=False)
    epochs = [[samples.index(5 * epoch + place) for place in range(5)] for epoch in range(4)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_run_that_starts_later_sees_what_it_would_have_seen():
    whole, rest = images(), images(start=4)
    assert len(whole) == 6
    assert len(rest) == 2
    for one, other in zip(whole[4:], rest, strict=True):
        assert torch.equal(one.images, other.images)
        assert all(torch.equal(a.masks, b.masks) for a, b in zip(one.targets, other.targets, strict=True))


def test_two_processes_share_the_batch_of_one():
    config = replace(CONFIG, batch=4)
    shares = zip(
        images(config), images(config, rank=0, world=2), images(config, rank=1, world=2), strict=True
    )
    for whole, first, second in shares:
        assert torch.equal(whole.images, torch.cat([first.images, second.images]))


def test_a_step_in_parts_has_the_same_images():
    whole = images(replace(CONFIG, batch=4))
    parts = images(replace(CONFIG, batch=4, accumulate=2))
    assert len(parts) == 12
    assert torch.equal(whole[1].images, torch.cat([parts[2].images, parts[3].images]))


def test_another_seed_is_another_run():
    assert not torch.equal(images()[0].images, images(replace(CONFIG, seed=1))[0].images)


def test_reading_in_other_processes_changes_nothing():
    config = replace(CONFIG, steps=2)
    read = list(islice(images(replace(config, workers=1)), 2))
    assert all(torch.equal(a.images, b.images) for a, b in zip(images(config), read, strict=True))


def test_a_process_that_reads_images_imports_no_model():
    probe = "import sys, reference.training.loader; sys.exit('reference.model' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_without_room_in_shared_memory_images_take_another_way():
    config = replace(CONFIG, steps=2)
    cramped = batches(Cramped(), replace(config, workers=1), captions=False, start=0)
    for one, other in zip(images(config), cramped, strict=True):
        assert torch.equal(one.images, other.images)
        assert all(torch.equal(a.masks, b.masks) for a, b in zip(one.targets, other.targets, strict=True))


class Holed(Squares):
    """Squares of which some cannot be read."""

    def __init__(self, bad):
        super().__init__()
        self.bad = bad

    def __getitem__(self, index):
        if index in self.bad:
            raise ImageError(f"{index}.png is damaged")
        return super().__getitem__(index)


@settings(max_examples=25, deadline=None)
@given(
    bad=st.sets(st.integers(0, 4), max_size=4),
    start=st.integers(0, 5),
    world=st.sampled_from([1, 2]),
    accumulate=st.sampled_from([1, 2]),
)
def test_what_comes_in_place_of_a_bad_picture_does_not_depend_on_how_a_run_is_cut_up(
    bad, start, world, accumulate
):
    config = replace(CONFIG, batch=4, skip_bad_images=True)

    def read(config, start, rank=0, world=1):
        skipped = []
        options = {"start": start, "rank": rank, "world": world, "skipped": skipped.append}
        parts = batches(Holed(bad), config, captions=False, **options)
        return [image for batch in parts for image in batch.images], skipped

    whole, skipped = read(config, 0)
    assert {one.image for one in skipped} <= {f"image {index}" for index in bad}
    parts = [read(replace(config, accumulate=accumulate), start, rank, world)[0] for rank in range(world)]
    share = 4 // world
    steps = range(6 - start)
    joined = [image for step in steps for part in parts for image in part[step * share : (step + 1) * share]]
    assert len(joined) == 4 * (6 - start)
    assert all(map(torch.equal, joined, whole[4 * start :]))


def test_a_picture_that_comes_in_place_of_others_is_augmented_anew():
    samples = Samples(Holed({0, 1, 2, 3}), replace(CONFIG, skip_bad_images=True), captions=False)
    seen = [samples.read(number)[0][0] for number in range(8)]
    assert len({image.numpy().tobytes() for image in seen}) == 8


def test_a_disk_that_is_gone_ends_the_run_and_is_not_skipped_picture_by_picture():
    samples = Samples(Holed(set(range(5))), replace(CONFIG, skip_bad_images=True), captions=False)
    with pytest.raises(TrainingError, match=r"100 pictures in a row cannot be read, the last one: .*damaged"):
        samples.read(0)


@pytest.mark.parametrize("error", [MemoryError(), TypeError("a fault"), KeyError("segments_info")])
def test_what_is_no_fault_of_a_picture_is_not_skipped(error):
    class Faulty(Squares):
        def __getitem__(self, index):
            raise error

    samples = Samples(Faulty(), replace(CONFIG, skip_bad_images=True), captions=False)
    with pytest.raises(TrainingError):
        samples.read(0)


def test_an_error_whose_class_another_process_does_not_know_arrives_by_its_name():
    class LocalError(OdiseError):
        pass

    class Faulty(Squares):
        def __getitem__(self, index):
            raise LocalError("odd", "do this")

    part = Parts(Samples(Faulty(), CONFIG, captions=False)).__getitems__([0, 1])
    assert str(pickle.loads(pickle.dumps(part)).error).startswith("LocalError: odd\n  do this")


def test_processes_that_cannot_be_started_are_told_as_that(monkeypatch):
    def refused(loader):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.utils.data.DataLoader.__iter__", refused)
    with pytest.raises(LoaderError, match="cannot be started: No space left on device"):
        batches(Squares(), CONFIG, captions=False, start=0)


def test_a_data_set_whose_first_pictures_are_bad_is_judged_by_another():
    with pytest.raises(ImageError):
        check_truth(Holed({0, 1}), captions=False)
    check_truth(Holed({0, 1}), captions=False, skip_bad_images=True)


def test_the_words_of_a_caption_come_with_the_image():
    batch = images(replace(CONFIG, steps=1), captions=True)[0]
    assert all("square" in target.words and "disc" in target.words for target in batch.targets)
    assert all(target.words == () for target in images(replace(CONFIG, steps=1))[0].targets)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(TrainingError, match="a batch of 2 does not divide among 3 processes"):
        images(world=3)


def test_data_without_segments_or_captions_is_refused_before_training():
    class Bare(Squares):
        def __getitem__(self, index):
            return replace(super().__getitem__(index), panoptic=None, captions=())

    class Silent(Squares):
        def __getitem__(self, index):
            return replace(super().__getitem__(index), captions=())

    with pytest.raises(TrainingError, match="no segments"):
        check_truth(Bare(), captions=False)
    with pytest.raises(TrainingError, match="no captions"):
        check_truth(Silent(), captions=True)
