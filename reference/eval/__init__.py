"""Evaluate a model on a dataset with the metrics of the literature: PQ, mIoU, AP.

    report = evaluate(ReferencePredictor(model, weights), open_dataset("coco", path))
    print(report.metrics["PQ"])

`docs/evaluation.md` is the page for users. Importing this package is quick: modules are loaded when a name of
theirs is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
    "BundlePredictor": "predictors",
    "Comparison": "comparison",
    "Detection": "prediction",
    "Prediction": "prediction",
    "Predictor": "prediction",
    "ReferencePredictor": "predictors",
    "Region": "prediction",
    "Report": "report",
    "compare": "comparison",
    "evaluate": "evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
