"""docs/weights.md says what the table of published files says, and its example runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reference.download.artefacts import ARTEFACTS, OF_PRESET
from tests.pages import Page
from tests.reference.download.conftest import artefact_at
from tests.reference.download.server import Host


@pytest.mark.parametrize("name", ARTEFACTS)
def test_the_page_has_the_facts_of_each_file(name: str, root: Path) -> None:
    page = (root / "docs" / "weights.md").read_text(encoding="utf-8")
    artefact = ARTEFACTS[name]
    for fact in (f"`{name}`", f"`{artefact.file}`", f"`{artefact.url}`", f"`{artefact.sha256}`"):
        assert fact in page
    assert artefact.licence.name in page
    assert artefact.licence.url in page


def test_the_example_of_the_page_runs(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*OF_PRESET["odise-label"], *OF_PRESET["odise-caption"]}:
        toy = replace(artefact_at(f"{host.url}/{name}"), name=name, file=name)
        monkeypatch.setitem(ARTEFACTS, name, toy)
    (example,) = Page("weights.md").examples
    names: dict[str, object] = {}
    exec(example, names)
    assert list(names["paths"]) == list(OF_PRESET["odise-label"])
    release, *shared = names["found"]
    assert release is None
    assert shared == [names["paths"][name] for name in ("sd-v1-3", "clip-vit-l-14-336")]
