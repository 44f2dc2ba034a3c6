"""Figures of a comparison as texts: for the table of the panel and for the clipboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..evaluation import rows_of

_DIGITS = {"dice": 3, "asd_mm": 2, "hd95_mm": 2}


def comparison_rows(figures: Mapping[str, Any]) -> list[list[str]]:
    """Texts by row, the mean last: structure, Dice, ASD, HD95 (before → after), volumes (moving → warped, fixed).

    Args:
        figures: as `evaluation.compare_labels` gives them.
    """
    rows = []
    for row in rows_of(figures):
        cells = [str(row["name"])]
        cells += [
            f"{_text(row[f'{measure}_before'], digits)} → {_text(row[f'{measure}_after'], digits)}"
            for measure, digits in _DIGITS.items()
        ]
        moving, warped, fixed = (_text(row[f"{which}_volume_ml"], 1) for which in ("moving", "warped", "fixed"))
        cells.append(f"{moving} → {warped}, {fixed}" if row["fixed_volume_ml"] is not None else "")
        rows.append(cells)
    return rows


def text_of(figures: Mapping[str, Any]) -> str:
    """The whole table with its headings, tab-separated, for a spreadsheet."""
    rows = rows_of(figures)
    columns = [name for name in rows[0] if name != "label"]
    lines = ["\t".join(columns)]
    lines += ["\t".join("" if row[name] is None else str(row[name]) for name in columns) for row in rows]
    return "\n".join(lines) + "\n"


def _text(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
