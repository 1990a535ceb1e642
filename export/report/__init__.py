"""The page of a comparison with the reference: a table, and for every output what it looks like.

One HTML file without external files. `exhibits` collects what is drawn while stages are compared, so that no
array is kept. `page` writes the file.
"""

from __future__ import annotations

from .exhibits import Exhibit, Exhibits
from .page import FILE, write_report

__all__ = ["FILE", "Exhibit", "Exhibits", "write_report"]
