"""Many images by Ray, on a cluster that is started here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from odise_trt import Segmenter, Vocabulary
from odise_trt.batch import PATIENCE, Item, segment_files
from odise_trt.bundle import Bundle
from odise_trt.coco_panoptic import read_ids
from odise_trt.errors import BackendError, ImageError, OdiseError, OutputError, VocabularyError
from odise_trt.ray_run import (
    Job,
    Machine,
    Resources,
    _outcome,
    _outcomes,
    _Worker,
    resources,
    segment_with_ray,
)
from tests.odise_trt import toy_bundle

WORDS = Vocabulary.parse("red; green; blue")
ROOT = Path(__file__).resolve().parents[2]
SEARCH = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Coloured stripes, shifted; the third is no image, and two have one name."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{number}.png" for number in range(4)] + [folder / "deep" / "0.png"]
    for number, path in enumerate(paths):
        stripes = np.zeros((90, 120, 3), np.uint8)
        for colour in range(3):
            stripes[:, 40 * colour : 40 * (colour + 1), colour] = 255
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.roll(stripes, 7 * number, axis=1)).save(path)
    paths[2].write_text("no image")
    return paths


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray on this machine, as if it had two processors."""
    ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "odise-trt[ray]"')
    pytest.importorskip("ray.data", reason='Ray Data is not installed: pip install "odise-trt[ray]"')
    # Workers import the package from the checkout.
    search = {"env_vars": {"PYTHONPATH": SEARCH}}
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        logging_level="error",
        log_to_driver=False,
        runtime_env=search,
    )
    yield
    ray.shutdown()


@pytest.mark.slow
def test_ray_writes_what_one_process_writes(
    bundle: Path, photos: list[Path], tmp_path: Path, cluster: None
) -> None:
    outcomes = list(segment_with_ray(Job(bundle, tmp_path / "ray", WORDS, workers=2, threads=1), photos))
    with Segmenter.open(bundle, vocabulary=WORDS) as segmenter:
        expected = {one.image: one for one in segment_files(segmenter, photos, tmp_path / "one")}

    assert {one.image for one in outcomes} == set(expected)
    for one in outcomes:
        alone = expected[one.image]
        assert [file.name for file in one.files] == [file.name for file in alone.files]
        assert str(one.error) == str(alone.error)
        if one.error is not None:
            assert isinstance(one.error, ImageError)
            assert one.image == photos[2]
            continue
        for file, same in zip(one.files, alone.files, strict=True):
            if file.name.endswith(".panoptic.png"):
                np.testing.assert_array_equal(read_ids(file), read_ids(same))
        annotations = [json.loads(files[-1].read_text())["annotations"] for files in (one.files, alone.files)]
        assert annotations[0] == annotations[1]
    assert len(list((tmp_path / "ray").iterdir())) == 4 * 3


@pytest.mark.slow
def test_an_error_of_a_worker_is_the_one_that_one_process_gives(
    bundle: Path, photos: list[Path], tmp_path: Path, cluster: None
) -> None:
    long = Vocabulary.parse("a" * 500)
    with pytest.raises(VocabularyError) as here, Segmenter.open(bundle, vocabulary=long):
        pass
    with pytest.raises(VocabularyError) as there:
        list(segment_with_ray(Job(bundle, tmp_path, long, workers=1, threads=1), photos))
    assert str(there.value) == str(here.value)


@pytest.mark.slow
def test_more_workers_than_there_is_room_for_are_refused(
    bundle: Path, photos: list[Path], tmp_path: Path, cluster: None
) -> None:
    for wanted in (Job(bundle, tmp_path, WORDS, workers=3, threads=1), Job(bundle, tmp_path, WORDS, gpus=1)):
        with pytest.raises(BackendError, match="Ray has no room for"):
            list(segment_with_ray(wanted, photos))


@pytest.mark.parametrize(
    ("raised", "kind", "says"),
    [
        (MemoryError(), ImageError, "needs more memory than there is"),
        (BackendError("features failed", "shrink it"), BackendError, "features failed"),
        (RuntimeError("surprise"), OdiseError, "RuntimeError: surprise"),
        (OSError(5, "Input/output error"), ImageError, "Input/output error"),
    ],
)
def test_what_happens_to_one_picture_in_a_worker_is_its_outcome(
    raised: Exception,
    kind: type[OdiseError],
    says: str,
    bundle: Path,
    photos: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ordinary = Segmenter.__call__

    def fail(self: Segmenter, image: Path, *arguments: Any, **options: Any) -> Any:
        if image == photos[1]:
            raise raised
        return ordinary(self, image, *arguments, **options)

    monkeypatch.setattr(Segmenter, "__call__", fail)
    items = [json.dumps([str(photo), str(number)]) for number, photo in enumerate(photos[:2])]
    # A name that is not UTF-8, and a picture whose results are in the way.
    odd = tmp_path / "caf\udce9.png"
    odd.write_bytes(photos[0].read_bytes())
    (tmp_path / "9.json").write_text("{}")
    items += [json.dumps([str(odd), "odd"]), json.dumps([str(photos[0]), "9"])]
    written = _Worker(Job(bundle, tmp_path, WORDS), threads=1)({"item": items})["outcome"]
    outcomes = [_outcome(json.loads(text)) for text in written]

    assert [outcome.image for outcome in outcomes] == [photos[0], photos[1], odd, photos[0]]
    assert [type(outcome.error) for outcome in outcomes] == [type(None), kind, type(None), OutputError]
    assert says in str(outcomes[1].error)
    assert str(photos[1]) in str(outcomes[1].error)


def test_a_bundle_that_cannot_be_opened_ends_the_work_of_all(tmp_path: Path) -> None:
    (written,) = _Worker(Job(tmp_path / "nowhere", tmp_path, WORDS), 1)({"item": ['["a.png", "a"]']})[
        "outcome"
    ]
    with pytest.raises(OdiseError, match="is not a bundle"):
        _outcome(json.loads(written))


def test_the_pictures_that_ray_says_nothing_of_are_not_tried(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [Item(Path(f"/{number}.png"), str(number)) for number in range(20)]
    full = {"error": ["OutputError", "no space", None], "place": True}

    def facts(fails: Exception | None) -> Any:
        def give(*arguments: object) -> Iterator[dict[str, Any]]:
            yield {"path": "/0.png", "files": ["0.json"]}
            if fails is not None:
                raise fails
            yield from ({"path": str(item.image), **full} for item in items[1:])

        return give

    job, two = Job(bundle, tmp_path, WORDS), Resources(workers=2, gpus=0, threads=1)
    for fails, tried, says in ((ValueError("lost"), 1, "lost"), (None, 1 + 2 * PATIENCE, "no space")):
        monkeypatch.setattr("odise_trt.ray_run._facts", facts(fails))
        outcomes = list(_outcomes(None, job, two, items))
        assert [outcome.image for outcome in outcomes] == [item.image for item in items]
        assert [outcome.tried for outcome in outcomes] == [n < tried for n in range(20)]
        assert says in str(outcomes[-1].error)


@pytest.mark.parametrize(
    ("machines", "asked", "expected"),
    [
        ([Machine(16)], {}, (4, 0, 4)),
        ([Machine(2)], {}, (1, 0, 2)),
        # A worker does not lie on two machines.
        ([Machine(2)] * 4, {}, (4, 0, 2)),
        ([Machine(16), Machine(3)], {"threads": 2}, (9, 0, 2)),
        # Nor on two GPUs, if it has a part of one; and its share of the processors has to be there.
        ([Machine(16, 2)], {"device": "cuda"}, (2, 1, 4)),
        ([Machine(4, 1)], {"gpus": 0.5}, (2, 0.5, 2)),
        ([Machine(16, 2)], {"gpus": 0.6}, (2, 0.6, 4)),
        ([Machine(16, 4)], {"gpus": 2}, (2, 2, 4)),
        ([Machine(16), Machine(8, 1)], {"device": "cuda"}, (1, 1, 4)),
    ],
)
def test_every_worker_has_room_on_one_machine(
    bundle: Path, tmp_path: Path, machines: list[Machine], asked: dict[str, Any], expected: tuple[int, ...]
) -> None:
    found = resources(Job(bundle, tmp_path, WORDS, **asked), Bundle.open(bundle), machines)
    assert (found.workers, found.gpus, found.threads) == expected


@pytest.mark.parametrize(
    ("machines", "asked"),
    [
        ([Machine(2)] * 4, {"threads": 4}),
        ([Machine(4, 1)], {"gpus": 0.5, "threads": 4, "workers": 2}),
        ([Machine(16, 2)], {"gpus": 0.6, "workers": 3}),
        ([Machine(16), Machine(16)], {"device": "cuda"}),
        ([], {}),
    ],
)
def test_workers_without_room_are_refused(
    bundle: Path, tmp_path: Path, machines: list[Machine], asked: dict[str, Any]
) -> None:
    with pytest.raises(BackendError, match="Ray has no room for"):
        resources(Job(bundle, tmp_path, WORDS, **asked), Bundle.open(bundle), machines)


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "odise_trt", "run", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": SEARCH, "COLUMNS": "200", **environment},
    )


@pytest.mark.slow
def test_the_command_line_starts_ray_itself(bundle: Path, photos: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("ray.data", reason='Ray Data is not installed: pip install "odise-trt[ray]"')
    options = ("--engines", bundle, "--vocab", "red; green; blue", "--output", tmp_path, "--ray")
    done = run(*photos, *options, "--workers", 1, "--threads", 1)
    assert done.returncode == 1
    assert "1 of 5 images were not segmented" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count(".overlay.png") == 4
    assert (tmp_path / "3.panoptic.png").exists()


def test_without_ray_it_is_said_how_to_get_it(bundle: Path, photos: list[Path], tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "ray.py").write_text("raise ImportError('no ray')")
    search = os.pathsep.join((str(hidden), str(ROOT)))
    options = ("--engines", bundle, "--vocab", "red", "--output", tmp_path / "out", "--ray")
    done = run(photos[0], *options, PYTHONPATH=search)
    assert done.returncode == 1
    assert 'pip install "odise-trt[ray]"' in done.stderr


def test_options_of_ray_need_ray(bundle: Path, photos: list[Path]) -> None:
    options = ("--engines", bundle, "--vocab", "red")
    assert run(photos[0], *options, "--workers", 2).returncode == 2
    assert run(photos[0], *options, "--ray", "--device", "cuda:1").returncode == 2
