"""Evaluate a model on a dataset with the metrics of the literature: PQ, mIoU, AP.

    report = evaluate(ReferencePredictor(model, weights), open_dataset("coco", path))
    print(report.metrics["PQ"])

`docs/evaluation.md` is the page for users. Importing this package is quick: modules are loaded when a name of
theirs is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from odise_trt.lazy import lazy_names

if TYPE_CHECKING:
    from reference.eval.comparison import Comparison, compare
    from reference.eval.evaluation import evaluate
    from reference.eval.prediction import Detection, Prediction, Predictor, Region
    from reference.eval.predictors import BundlePredictor, ReferencePredictor
    from reference.eval.report import Report

__all__ = [
    "BundlePredictor",
    "Comparison",
    "Detection",
    "Prediction",
    "Predictor",
    "ReferencePredictor",
    "Region",
    "Report",
    "compare",
    "evaluate",
]

_HOMES = {
    "BundlePredictor": ".predictors",
    "Comparison": ".comparison",
    "Detection": ".prediction",
    "Prediction": ".prediction",
    "Predictor": ".prediction",
    "ReferencePredictor": ".predictors",
    "Region": ".prediction",
    "Report": ".report",
    "compare": ".comparison",
    "evaluate": ".evaluation",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
