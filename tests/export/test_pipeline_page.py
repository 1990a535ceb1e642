"""docs/pipeline.md shows the steps that bundles have."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.stages import steps
from odise_trt.pipeline import Step
from odise_trt.pipeline.diagram import few, mermaid, sources
from reference.preset import DEMO


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "pipeline.md").read_text()


def test_the_diagram_is_drawn_from_the_steps(page: str) -> None:
    shown = page.partition("```mermaid\n")[2].partition("```")[0]
    assert shown == mermaid(steps(DEMO)), "print(mermaid(steps(DEMO))) is the diagram of now"


def test_the_table_explains_every_step(page: str) -> None:
    table = page.partition("| step |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert "".join(rows).replace("`", "").replace(",", "").split() == [step.stage for step in steps(DEMO)]


def test_an_arrow_names_each_source_once_and_few_of_many_tensors() -> None:
    step = Step(
        "last", {"a": "first.x", "b": "picture.y", "c": "first.z"}, tasks=("semantic",), repeat="rows"
    )
    assert sources(step) == {"first": ["x", "z"], "picture": ["y"]}
    drawn = mermaid([step])
    assert 'last[["last<br/>by rows"]]:::semantic' in drawn
    assert 'first -- "x<br/>z" --> last' in drawn
    assert "picture([picture]):::host" in drawn
    assert "vocabulary" not in drawn
    assert few(["a", "b", "c", "d"]) == ["a", "b", "c", "d"]
    assert few(["a", "b", "c", "d", "e", "f"]) == ["a", "b", "c", "3 more"]
