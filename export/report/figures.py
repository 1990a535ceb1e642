"""The pictures of the page, as HTML: maps, histograms, and a segmented scene. They are limited in bytes."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from odise_trt.bundle.manifest import Parity

from . import histogram
from .exhibits import Exhibit
from .maps import Panel

#: Pictures beyond this many bytes of the page are left out.
MOST_BYTES = 2_200_000

_LEGEND = """<p>Each output at its largest size, or in the comparison that missed by most. Of a map, the plane
with the largest error is drawn: the reference and what was found, in the same colours; the error
from dark, 1e-8 of the typical value (root mean square of the reference) or less, to light, the
typical value or more. What is not finite is magenta. The bars count the elements of the whole
output by the size of their error, relative to the typical value; both axes are logarithmic. The
black line is the relative L2 distance, the dashed one the tolerance.</p>"""

_SCENE = "<p>One picture, segmented by the reference and by this bundle. Equal colours are one segment.</p>"


class Figures:
    """Makes the figures of one page."""

    def __init__(self) -> None:
        self._left = MOST_BYTES

    def scene(self, panels: Sequence[Panel]) -> str:
        """Return a picture segmented twice. Nothing if there is none."""
        if not panels:
            return ""
        return f'<section class="scene" id="scene">{_SCENE}{self._panels(panels)}</section>'

    def stages(self, names: Sequence[str], exhibits: Sequence[Exhibit]) -> str:
        """Return a section for every stage with exhibits, and a line about the others."""
        if not exhibits:
            return ""
        drawn = {exhibit.row.stage for exhibit in exhibits}
        parts = [_LEGEND]
        for name in names:
            if name in drawn:
                own = "\n".join(self._exhibit(one) for one in exhibits if one.row.stage == name)
                title = html.escape(name)
                parts.append(f'<section id="{title}"><h2>{title}</h2>\n{own}</section>')
        if rest := [name for name in names if name not in drawn]:
            parts.append(
                f"<p>{html.escape(', '.join(rest))}: kept from an earlier build, so there are numbers only."
                " <code>odise-trt check DIR --report FILE</code> draws them.</p>"
            )
        return "\n".join(parts)

    def _exhibit(self, exhibit: Exhibit) -> str:
        row = exhibit.row
        measure = "share that differs" if exhibit.errors is None else "relative L2"
        drawn = f", plane {exhibit.place}" if exhibit.place else ""
        head = (
            f"<h3>{html.escape(row.tensor)} <small>{html.escape(sizes_of(row))}{html.escape(drawn)};"
            f" {'' if row.passed else 'missed, '}{measure} {row.relative_l2:.2e}</small></h3>"
        )
        panels = self._panels(exhibit.panels) if exhibit.panels else ""
        if exhibit.errors is None:
            return head + (panels or "<p>Whole numbers, which are equal or not.</p>")
        bars = histogram.draw(exhibit.errors, row.relative_l2, row.tolerance)
        caption = html.escape(histogram.words(exhibit.errors))
        return f"{head}{panels}<figure>{bars}<figcaption>{caption}</figcaption></figure>"

    def _panels(self, panels: Sequence[Panel]) -> str:
        texts = [base64.b64encode(panel.png).decode() for panel in panels]
        size = sum(map(len, texts))
        if size > self._left:
            return "<p>Its pictures are left out: the page would become too large.</p>"
        self._left -= size
        figures = [
            f'<figure><img alt="{html.escape(panel.caption)}" src="data:image/png;base64,{text}">'
            f"<figcaption>{html.escape(panel.caption)}</figcaption></figure>"
            for panel, text in zip(panels, texts, strict=True)
        ]
        return f'<div class="panels">{"".join(figures)}</div>'


def sizes_of(row: Parity) -> str:
    """Return the sizes of a comparison, like `"height=512, width=640"`."""
    return ", ".join(f"{axis}={size}" for axis, size in row.sizes.items())
