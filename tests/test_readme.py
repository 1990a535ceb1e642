"""What the README shows can be done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from reference.scenes import make_scene


def test_the_python_of_the_readme_segments_a_scene(
    root: Path, demo_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.search(
        r"^```python\n(.*?)^```$", (root / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert code is not None
    monkeypatch.chdir(tmp_path)
    Path("engines").mkdir()
    Path("engines", "demo-onnxruntime-fp32").symlink_to(demo_bundle)
    Path("outputs").mkdir()
    Image.fromarray(make_scene(seed=1_000_008).image).save("outputs/scene.png")
    names: dict[str, object] = {}
    exec(code[1], names)
    found = {segment.name for segment in names["result"].segments}  # type: ignore[attr-defined]
    assert "sky" in found
    with Image.open("scene.overlay.png") as overlay:
        assert overlay.size[0] >= 512
