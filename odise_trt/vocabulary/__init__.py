"""Vocabularies: the categories to look for, and readers of the forms in which users write them.

From a text to categories: `source` decides what `--vocab` is, and `parts` reads each part. `lines`, `file`,
`yaml_reader` and `format` read the forms, and `names` splits names. `other_forms` and `likeness` detect texts
that are probably meant as something else. `vocabulary` has the classes.
"""

from .presets import PRESETS
from .vocabulary import Category, Vocabulary

__all__ = ["PRESETS", "Category", "Vocabulary"]
