"""Where the weights that come with the product lie."""

from pathlib import Path

_FOLDER = Path(__file__).with_name("files")
#: The label model, whole.
LABEL = _FOLDER / "demo.safetensors"
#: What the caption model has of its own; its frozen part is that of `LABEL`.
CAPTION = _FOLDER / "demo-caption.safetensors"
