"""Detects names that are probably lists in the form of another program.

A reader of names accepts every text, so a list in another form would become one strange name. Each row here
is such a form. A text that fits is an error. The error says how to write the text if it really is a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Commas and semicolons of other scripts (also full-width and half-width), and quotes that look like commas.
_SEPARATORS = (
    "\uff0c\uff1b\u3001\uff64\ufe50\ufe51\ufe54\ufe10\ufe11\ufe14"  # Chinese, Japanese, Korean
    "\u060c\u061b\u037e\u204f\u201a\u2e32\u2e34\u2e35\u2e41\u2e4c\u1363\u1364\u07f8\ua4fe\ua60d"
)
#: The most letters that are checked. CLIP reads fewer of a name, and patterns are slow on very long text.
MOST = 500
_LINES = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_BULLETS = r"\-*+\u2022\u2023\u25e6\u2013\u2014\u00b7\u25aa\u25cf"
# A few words without a dot, as between the dots of a list. Abbreviations of one or two letters do not match.
_SHORT = r"(?:[^\W_][^\s.]*\s+){0,3}[^\s.]{3,}"
# A title and what follows it: Star Wars: A New Hope.
_TITLE = r"(?-i:[A-Z][^\s:]*(?:\s[^:]*:\s[A-Z0-9]|:\s[A-Z0-9]\S*\s\S))"
_NUMBERED = r"^-?\d+\s*[:\uff1a]\s*[^\W\d]"
_KEYS = (
    "things|stuffs|names?|class|classes|class_names|labels?|categor(?:y|ies)|synonyms|isthing|id|nc|"
    "path|train|val"
)


@dataclass(frozen=True)
class OtherForm:
    """A form of list that a text can be.

    Attributes:
        reading: why it is probably not a name. It follows the name in a message.
        instead: what to write.
    """

    pattern: re.Pattern[str]
    reading: str
    instead: str


def other_form(name: str) -> OtherForm | None:
    """Return the first form that a name without quotes fits, or None."""
    beginning = name[:MOST]
    return next((form for form in _FORMS if form.pattern.search(beginning)), None)


def _form(reading: str, instead: str, *patterns: str) -> OtherForm:
    return OtherForm(re.compile("|".join(patterns), re.IGNORECASE), reading, instead)


_NAMES_ALONE = "write the names alone"
_SEPARATE = "write `;` between categories and `,` between names, in a file a line for each category"
_FORMS = (
    _form(
        "`;` stands between categories on the command line",
        "write `,` between names; in a file, give each category a line",
        ";",
    ),
    _form(
        "it has a sign that looks like `,` or `;`",
        "write the `,` and `;` of an English keyboard",
        f"[{_SEPARATORS}]",
    ),
    _form("it has several lines", "give the file, or write `;` between categories", f"[{_LINES}]"),
    _form("it has a tab between words", "write `,` between names, and a blank inside a name", r"\t"),
    _form("other programs write `|` between names", _SEPARATE, r"[|\uff5c]"),
    _form(
        "other programs write dots between categories",
        _SEPARATE,
        r"\s\.(\s|$)",
        rf"^{_SHORT}(\.\s+{_SHORT}){{2,}}\.?$",
        rf"^(?-i:(?![A-Z])){_SHORT}\.\s+(?-i:(?![A-Z])){_SHORT}\.$",
    ),
    _form(
        "other programs write names in quotes side by side",
        _SEPARATE,
        r"""^(['"])[^'"]+\1(\s+(['"])[^'"]+\3)+$""",
    ),
    _form("it is an item of a list", _NAMES_ALONE, rf"^[{_BULLETS}]\s"),
    _form(
        "it is an item of a numbered list",
        _NAMES_ALONE,
        r"^(\d+[.)]|[a-z]\))(\s|[^\W\d]|$)",
        r"^[(\[]\d+[)\]]",
    ),
    _form("it begins with a WordNet id", _NAMES_ALONE, r"^n\d{8}\b"),
    _form(
        "it is a line of a table",
        _NAMES_ALONE,
        r"^\d+\s+(thing|stuff)\s",
        r"(^|\s)\d[\d.]*(\s+\d[\d.]*){2,}(\s|$)",
    ),
    _form("only a line of a file may begin with a number and a colon", _NAMES_ALONE, _NUMBERED),
    _form("it is a key, as YAML and other formats have them", _NAMES_ALONE, rf"^({_KEYS})\s*[:=\uff1a]"),
    _form(
        "only `thing` or `stuff` may stand in front of a colon",
        "write `,` between a name and its synonyms",
        rf"^(?!{_TITLE}).*[^\W\d_]['\")\]]?\s*[:\uff1a](\s|$|[^\W_])",
    ),
    _form("it has `=` or an arrow, as a table of names has", _NAMES_ALONE, "=", "->", "[\u2192\u21d2]"),
    _form("it is a mark of YAML or Markdown", _NAMES_ALONE, r"^(---|===|\.\.\.|```|%yaml\b|\*\*\*)"),
    _form("it is a comment or a tag of another language", "begin a comment with #", r"^(//|/\*|<[a-z/!?])"),
    _form("comments are for files", _NAMES_ALONE, r"(^|\s)#(\s+[^\W\d]|$)"),
    _form(
        "it is a piece of a list of a programming language",
        _NAMES_ALONE,
        r"^[\[{]",
        r"[\]}]$",
        r"^\(['\"]",
        r"['\"]\)$",
    ),
    _form("it is an address", "download it and give the file", r"^[a-z][a-z+.]{1,8}://"),
    _form("it has a backslash", "put a name that has `,` or `;` in double quotes", r"\\"),
    _form(
        "it is a variable without its value",
        "in a shell, put the variable in double quotes",
        r"^\$[{(a-z_]",
        r"^%\w+%$",
    ),
    _form(
        "it has a character in the writing of HTML",
        "write the character itself",
        r"&(amp|lt|gt|quot|apos|nbsp|#x?[0-9a-f]+)\b",
    ),
)
