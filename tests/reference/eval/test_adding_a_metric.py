"""The metric of docs/adding-a-metric.md, taken from the page, is computed, stored, shown and compared."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from odise_trt.vocabulary import Vocabulary
from reference.datasets.example import Example
from reference.eval import Report, compare, evaluate
from reference.eval.metrics import catalogue
from reference.eval.prediction import Prediction
from reference.eval.scores import Scores
from reference.eval.show import show_comparison, show_report
from tests.pages import Page
from tests.reference.eval.eval_toys import Knowing, Shaky, ToyDataset

PAGE = Page("adding-a-metric.md")


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file and one entry; nothing else."""
    assert list(PAGE.files) == ["reference/eval/metrics/weighted_iou.py"]
    assert list(PAGE.lines) == ["reference/eval/metrics/catalogue.py"]
    PAGE.install(tmp_path / "code", monkeypatch)
    changed = PAGE.with_line("reference/eval/metrics/catalogue.py", after="METRICS: Sequence[Metric] = (")
    assert len(changed.METRICS) == len(catalogue.METRICS) + 1
    monkeypatch.setattr(catalogue, "METRICS", changed.METRICS)


def test_it_gives_the_numbers_worked_out_by_hand() -> None:
    # Of ten pixels with truth, eight are of the first category, and one of those is taken for the second.
    truth = np.array([[0] * 8 + [1, 1, -1]], dtype=np.int32)
    predicted = np.array([[0] * 7 + [1, 1, 1, 0]], dtype=np.int32)
    dataset = ToyDataset()
    dataset.vocabulary = Vocabulary.parse("one; two")
    scores = Scores(dataset, ["semantic"])
    image = np.zeros((1, 11, 3), np.uint8)
    scores.add(0, Example("a", image, semantic=truth), Prediction(semantic=predicted))
    metrics, rows = scores.result()
    assert metrics["fwIoU"] == pytest.approx(100 * (0.8 * 7 / 8 + 0.2 * 2 / 3))
    assert [row["share"] for row in rows] == [80, 20]
    assert metrics["mIoU"] == pytest.approx(100 * (7 / 8 + 2 / 3) / 2)


def test_it_is_stored_shown_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate(Knowing(), ToyDataset(), output=tmp_path / "knowing")
    reports = [Report.read(tmp_path / "knowing"), evaluate(Shaky(), ToyDataset())]
    assert reports[0].metrics["fwIoU"] == pytest.approx(100)
    console = Console(width=120, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as shown:
        show_report(console, reports[1], per_category=True)
    assert f"{reports[1].metrics['fwIoU']:.2f}" in shown.get()
    assert "share" in shown.get()
    # It is compared where its entry says so.
    assert "fwIoU" not in compare(reports).headings
    told = [replace(one, compared="fwIoU") if "fwIoU" in one.names else one for one in catalogue.METRICS]
    monkeypatch.setattr(catalogue, "METRICS", told)
    with console.capture() as shown:
        show_comparison(console, compare(reports))
    assert "fwIoU" in shown.get()


def test_every_declaration_is_true_of_its_metric() -> None:
    dataset = ToyDataset()
    for metric in catalogue.METRICS:
        scores = Scores(dataset, [metric.task])
        scores.add(0, dataset[0], Knowing(dataset).prediction(dataset[0]))
        metrics, rows = scores.result()
        # Those of rare, common and frequent categories are for LVIS.
        suffixes = [suffix for _, suffix in metric.groups] or [""]
        wanted = {name + suffix for name in metric.names for suffix in suffixes}
        assert {name for name in wanted if name not in metrics} <= {"AP_r", "AP_c", "AP_f"}
        assert all(set(metric.columns) <= set(row) for row in rows)
        assert metric.compared is None or metric.compared in metric.names


def test_a_library_that_is_missing_is_found_before_an_evaluation_begins() -> None:
    probe = "import sys; sys.modules['faster_coco_eval'] = None; import reference.eval.evaluation"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in done.stderr
    assert "faster_coco_eval" in done.stderr
