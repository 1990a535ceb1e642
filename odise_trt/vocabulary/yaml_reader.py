"""Reads YAML with every scalar as text: `no`, `1` and `2024-02-30` are ordinary names.

PyYAML's own typed values are not needed here, and converting to them can fail in many ways.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ..errors import VocabularyError

if TYPE_CHECKING:
    import yaml

#: The most lists, mappings and texts. Those behind an alias count each time. A vocabulary of 10,000
#: categories has about 50,000. A few lines of aliases can make billions.
MOST_VALUES = 500_000

# The deepest nesting. PyYAML takes minutes for thousands of brackets, until Python's own limit stops it.
_DEEPEST = 200

_TAGS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}
_NOTHING = frozenset(("", "~", "null", "Null", "NULL"))
_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def read_yaml(text: str, place: str) -> Any:
    """Read lists, mappings and texts. In a mapping, a missing value is None and `isthing` is a boolean.

    Raises:
        VocabularyError: the text is not YAML, or has a key twice, a tag such as `!!int`, or more than
            `MOST_VALUES` values.
    """
    # Imported here because only this format needs a library.
    import yaml

    if _depth(text) > _DEEPEST:
        raise VocabularyError(f"{place} has lists in lists without end", "write a list of categories")
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
        return None if node is None else _Values(place).of(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        why = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        raise VocabularyError(f"{place}{line} is not valid YAML: {why}", _hint(why)) from error
    except yaml.reader.ReaderError as error:
        line = f", line {text.count(chr(10), 0, max(error.position, 0)) + 1}"
        character = error.character if isinstance(error.character, int) else ord(error.character)
        raise VocabularyError(
            f"{place}{line} has a character that YAML does not allow (U+{character:04X})", "remove it"
        ) from error
    except yaml.YAMLError as error:
        raise VocabularyError(f"{place} is not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise VocabularyError(
            f"{place} has lists in lists without end", "write a list of categories"
        ) from error
    except (ValueError, OverflowError) as error:  # an escape such as "\\UFFFFFFFF"
        raise VocabularyError(f"{place} is not valid YAML: {error}", "correct it") from error


def _depth(text: str) -> int:
    """Return the largest number of brackets that are open at once. Brackets in names count, too."""
    steps = (1 if match[0] in "[{" else -1 for match in re.finditer(r"[\[\]{}]", text))
    return max(accumulate(steps), default=0)


def _hint(why: str) -> str:
    if "\\t" in why:
        return "indent with blanks"
    if "single document" in why:
        return "remove the `---` between the two"
    return "put a name that has : # [ ] { } & * ! | > ' \" % @ or ` into quotes"


class _Values:
    """Converts nodes to Python values."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._room = MOST_VALUES

    def of(self, node: yaml.Node) -> Any:
        import yaml

        self._room -= 1
        if self._room < 0:
            raise VocabularyError(
                f"{self._place} has more than {MOST_VALUES} values, aliases counted",
                "write it without aliases",
            )
        if node.tag not in _TAGS:
            raise self._error(
                node, f"has the tag {node.tag.replace('tag:yaml.org,2002:', '!!')}", "remove it"
            )
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node)
        if (
            getattr(node, "style", None) is None
            and node.start_mark.line < node.end_mark.line
            and " - " in node.value
        ):
            raise self._error(
                node, f"has {node.value!r}, which goes on in the next line", "indent all `-` alike"
            )
        return node.value

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, value = self.of(key_node), self.of(value_node)
            if not isinstance(key, str):
                raise self._error(
                    key_node, "has a list or a mapping for a key", "put a name that has ? into quotes"
                )
            if key in values:
                raise self._error(key_node, f"has the key `{key}` twice", "remove one of the two")
            plain = getattr(value_node, "style", None) is None and isinstance(value, str)
            if plain and value in _NOTHING:
                value = None
            elif plain and key == "isthing":
                value = _FLAGS.get(value.lower(), value)
            values[key] = value
        return values

    def _error(self, node: yaml.Node, what: str, hint: str) -> VocabularyError:
        return VocabularyError(f"{self._place}, line {node.start_mark.line + 1} {what}", hint)
