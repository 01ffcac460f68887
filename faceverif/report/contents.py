"""The list of contents of a page, made of its headings."""

from __future__ import annotations

import re

from markupsafe import Markup

# A page with fewer headings is seen at a glance.
FEWEST = 4

_HEADING = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


def with_contents(content: str) -> Markup:
    """HTML with an id for every h2, and in front of the first a list of them if there are enough."""
    headings: dict[str, str] = {}

    def with_id(match: re.Match[str]) -> str:
        text = _TAG.sub("", match[1]).strip()
        name = _new_name(text, headings)
        headings[name] = text
        return f'<h2 id="{name}">{match[1]}</h2>'

    named = _HEADING.sub(with_id, content)
    if len(headings) < FEWEST:
        return Markup(named)
    before, first, after = named.partition("<h2 ")
    return Markup(before + _list(headings) + first + after)


def _new_name(text: str, taken: dict[str, str]) -> str:
    """An id like the text; a second heading of the same text gets a number."""
    plain = re.sub(r"[^\w]+", "-", re.sub(r"&[#\w]+;", "", text.lower())).strip("-") or "part"
    names = (plain if number == 1 else f"{plain}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def _list(headings: dict[str, str]) -> str:
    lines = "\n".join(f'<li><a href="#{name}">{text}</a></li>' for name, text in headings.items())
    return f'<nav class="contents" aria-label="Contents"><ul>\n{lines}\n</ul></nav>\n'
