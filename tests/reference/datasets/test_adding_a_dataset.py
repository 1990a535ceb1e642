"""The dataset of docs/adding-a-dataset.md, is opened, verified and evaluated by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from odise_trt.cli import app as odise_trt
from reference.datasets import catalogue
from reference.datasets.cli import app as datasets
from reference.datasets.verify import verify
from tests.odise_trt import toy_bundle
from tests.pages import Page

PAGE = Page("adding-a-dataset.md")
HEIGHT, WIDTH = 128, 192


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file and one line; nothing else."""
    assert list(PAGE.files) == ["reference/datasets/layouts/label_maps.py"]
    assert list(PAGE.lines) == ["reference/datasets/catalogue.py"]
    PAGE.install(tmp_path / "code", monkeypatch)
    changed = PAGE.with_line("reference/datasets/catalogue.py", after='    "own",')
    assert set(changed.LAYOUTS) - set(catalogue.LAYOUTS) == {"shapes"}
    monkeypatch.setitem(catalogue.LAYOUTS, "shapes", changed.LAYOUTS["shapes"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, half red and half green, and the other way round; the top row has no truth."""
    place = tmp_path / "data" / "shapes"
    for part in ("images", "labels"):
        (place / part / "val").mkdir(parents=True)
    (place / "classes.txt").write_text("red, crimson\ngreen\nblue\n")
    for number in (0, 1):
        labels = np.full((HEIGHT, WIDTH), number, np.uint8)
        labels[:, WIDTH // 2 :] = 1 - number
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for channel in (0, 1):
            picture[labels == channel, channel] = 255
        labels[0] = 255
        Image.fromarray(picture).save(place / "images" / "val" / f"{number}.png")
        Image.fromarray(labels).save(place / "labels" / "val" / f"{number}.png")
    return place


def test_it_is_opened_by_its_name(folder: Path) -> None:
    seen = {"folder": folder.parent}
    exec(PAGE.examples[0], seen)
    dataset, example = seen["dataset"], seen["example"]
    assert dataset.vocabulary.synonyms == (("red", "crimson"), ("green",), ("blue",))
    assert (len(dataset), example.image_id, example.image.shape) == (2, "0", (HEIGHT, WIDTH, 3))
    assert example.semantic[1:, 0].tolist() == [0] * (HEIGHT - 1)
    assert (example.semantic[0] == -1).all()


def test_it_is_listed_verified_and_what_is_missing_is_named(folder: Path) -> None:
    assert "shapes" in CliRunner().invoke(datasets, ["list"]).stdout
    done = CliRunner().invoke(datasets, ["verify", "shapes", str(folder)])
    assert done.exit_code == 0, done.output
    assert "shapes, val: 2 images, all files are there" in done.stdout
    (folder / "images" / "val" / "1.png").unlink()
    with pytest.raises(catalogue.DatasetError, match=r"images/val/1\.jpg is not there"):
        verify("shapes", folder)
    (folder / "classes.txt").unlink()
    with pytest.raises(catalogue.DatasetError, match=r"classes\.txt  \(names of the categories\)"):
        catalogue.open_dataset("shapes", folder)


def test_a_bundle_is_evaluated_on_it(folder: Path, tmp_path: Path) -> None:
    bundle = toy_bundle.make(tmp_path / "toy")
    arguments = ["eval", "--engines", bundle, "--dataset", "shapes", "--data", folder, "--output", tmp_path]
    done = CliRunner().invoke(odise_trt, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "shapes-val" / "toy" / "report.json").read_text())
    assert report["tasks"] == ["semantic"]
    # It sees which half is which; the border between the halves is blurred by the strides of its masks.
    assert report["metrics"]["mIoU"] > 90
