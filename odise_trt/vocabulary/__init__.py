"""Vocabularies: what to look for, and the many ways in which people write it down.

From a text to categories: `source` decides what `--vocab` is, `parts` reads each part, `lines`, `file`,
`yaml_reader` and `format` read the forms, `names` cuts names apart. `other_forms` and `likeness` know what a
text could be meant as instead. `vocabulary` has the classes.
"""

from .presets import PRESETS
from .vocabulary import Category, Vocabulary

__all__ = ["PRESETS", "Category", "Vocabulary"]
