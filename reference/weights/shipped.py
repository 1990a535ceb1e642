"""Paths of the weights that come with the product."""

from pathlib import Path

_FOLDER = Path(__file__).with_name("files")
#: The whole label model.
LABEL = _FOLDER / "demo.safetensors"
#: The trainable part of the caption model; its frozen part is that of `LABEL`.
CAPTION = _FOLDER / "demo-caption.safetensors"
