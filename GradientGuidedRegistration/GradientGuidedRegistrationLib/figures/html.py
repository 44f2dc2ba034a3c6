"""Pieces of a self-contained HTML page: nothing is loaded from elsewhere, all words are escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from .earlier import MARK

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 'Segoe UI', 'Helvetica Neue', Arial, sans-serif; color: #1d1f23; background: #fff;
  max-width: 1180px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 25px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 34px 0 8px; border-bottom: 1px solid #ddd; }
p { max-width: 80ch; } .quiet { color: #666; }
.verdict { border-left: 6px solid #999; background: #f4f4f5; padding: 10px 16px; margin: 18px 0; }
.verdict.good { border-color: #2e8b57; } .verdict.check { border-color: #d98a00; }
.verdict.poor { border-color: #c0392b; }
.verdict strong { font-size: 17px; } .verdict ul { margin: 4px 0; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 14px 0; }
.card { border: 1px solid #ddd; border-radius: 6px; padding: 8px 14px; min-width: 130px; }
.card b { display: block; font-size: 20px; font-variant-numeric: tabular-nums; }
.card span { color: #666; font-size: 13px; }
figure { margin: 14px 0 26px; } figure img { max-width: 100%; height: auto; border-radius: 4px; }
figcaption { color: #444; max-width: 90ch; margin-top: 4px; }
table { border-collapse: collapse; margin: 10px 0; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 12px; border-bottom: 1px solid #e5e5e5; text-align: left; vertical-align: top; }
th { background: #f4f4f5; font-weight: 600; } td.number, th.number { text-align: right; }
td:first-child { white-space: nowrap; max-width: 40ch; overflow: hidden; text-overflow: ellipsis; }
tr.mean td { font-weight: 600; border-top: 2px solid #bbb; }
.plots { display: flex; flex-wrap: wrap; gap: 10px 40px; } .plots svg { max-width: 100%; height: auto; }
@media print { figure, table, svg { break-inside: avoid; } }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole document."""
    content = "\n".join(body)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="generator" content="{MARK}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{content}\n</body>\n</html>\n"
    )


def figure(png: bytes, caption: str, title: str) -> str:
    """A picture with its caption, the PNG file within the page."""
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(title)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def cards(entries: Iterable[tuple[str, str]]) -> str:
    """Large figures with what they are below: (value, words)."""
    boxes = (f'<div class="card"><b>{escape(value)}</b><span>{escape(words)}</span></div>' for value, words in entries)
    return f'<div class="cards">{"".join(boxes)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], mean_row: bool = False, text_columns: int = 1) -> str:
    """A table; all but the first `text_columns` columns are numbers. Cells that are `Raw` are not escaped."""
    rows = list(rows)

    def cell(tag: str, index: int, value: Any) -> str:
        kind = "" if index < text_columns else ' class="number"'
        return f"<{tag}{kind}>{value if isinstance(value, Raw) else escape(str(value))}</{tag}>"

    lines = ["<tr>" + "".join(cell("th", i, value) for i, value in enumerate(header)) + "</tr>"] if any(header) else []
    for number, row in enumerate(rows):
        mark = ' class="mean"' if mean_row and number == len(rows) - 1 else ""
        lines.append(f"<tr{mark}>" + "".join(cell("td", i, value) for i, value in enumerate(row)) + "</tr>")
    return "<table>" + "\n".join(lines) + "</table>"


class Raw(str):
    """Text that is HTML already."""


def link(address: str, words: str) -> Raw:
    """A link to an address, usually a relative one."""
    return Raw(f'<a href="{escape(address)}">{escape(words)}</a>')


def facts(values: Mapping[str, Any]) -> str:
    """A two-column table of plain values; nested ones are written as "outer, inner"."""
    return table(("", ""), flat(values), text_columns=2) if values else ""


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and texts of plain values; nested ones are named "outer, inner"."""
    rows = []
    for key, value in values.items():
        name = f"{prefix}, {words_of(key)}" if prefix else words_of(key)
        if isinstance(value, Mapping):
            rows += flat(value, name)
        else:
            rows.append((name, written(value)))
    return rows


def words_of(key: Any) -> str:
    """A key as words."""
    return str(key).replace("_", " ")


def written(value: Any, digits: int = 3) -> str:
    """A value as a reader expects it: short numbers, "–" for what is not defined, the name only of a file's path."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.{digits}g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(written(item, digits) for item in value)
    if hasattr(value, "name") and hasattr(value, "parent"):  # a path: where it lies is nobody's business
        return str(value.name)
    return str(value)
