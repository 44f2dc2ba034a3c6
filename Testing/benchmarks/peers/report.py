"""The table, the CSV, the JSON and the picture of a benchmark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cases import GROUPS
from measures import COLUMNS

from GradientGuidedRegistrationLib.evaluation.plots import bar_plot, stacked
from GradientGuidedRegistrationLib.evaluation.tables import csv_of

# heading: (measure, factor, digits)
TABLE = {
    "TRE (mm)": ("tre_mm", 1, 2),
    "TRE p95": ("tre_p95_mm", 1, 2),
    "TRE aligned": ("tre_aligned_mm", 1, 2),
    "TRE own": ("tre_own_mm", 1, 2),
    "TRE scanned": ("tre_scanned_mm", 1, 2),
    "Dice (%)": ("dice", 100, 1),
    "ASD (mm)": ("asd_mm", 1, 2),
    "HD95 (mm)": ("hd95_mm", 1, 2),
    "folding (%)": ("folding_percent", 1, 3),
    "sd(log J)": ("sd_log_jacobian", 1, 3),
    "time (s)": ("seconds", 1, 1),
    "CPU (s)": ("cpu_seconds", 1, 1),
    "import (s)": ("import_seconds", 1, 1),
    "memory (MB)": ("peak_memory_mb", 1, 0),
}
_PICTURE = ("TRE (mm)", "Dice (%)", "folding (%)", "CPU (s)")
_WIDTH, _HEIGHT = 760, 260


def mean(rows: Sequence[dict], group: str, method: str, heading: str) -> float | None:
    """Mean over the cases of a group; None where the measure is not known for each of them."""
    measure, factor, _ = TABLE[heading]
    values = [row[measure] for row in rows if row["group"] == group and row["method"] == method]
    return None if not values or None in values else factor * sum(values) / len(values)


def text(rows: Sequence[dict], failures: Sequence[str], notes: Sequence[str]) -> str:
    """A table a group, mean over its cases."""
    parts = []
    for group in _groups(rows):
        cases = list(dict.fromkeys(row["case"] for row in rows if row["group"] == group))
        lines = [["", *TABLE]]
        for method in dict.fromkeys(row["method"] for row in rows if row["group"] == group):
            cells = [mean(rows, group, method, heading) for heading in TABLE]
            count = sum(row["group"] == group and row["method"] == method for row in rows)
            name = method if count == len(cases) else f"{method} ({count} cases)"
            lines.append([name, *("-" if v is None else f"{v:.{TABLE[h][2]}f}" for h, v in zip(TABLE, cells))])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        parts.append(f"{group}: {GROUPS[group]}; {len(cases)} cases: {', '.join(cases)}")
        for name, *cells in lines:
            parts.append("  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]))
        parts.append("")
    parts += [f"Failed: {failure}" for failure in failures]
    return "\n".join([*parts, *notes]) + "\n"


def picture(rows: Sequence[dict]) -> str:
    """Bars of the main measures by group and method, one chart below the other."""
    groups, methods = _groups(rows), list(dict.fromkeys(row["method"] for row in rows))
    charts = []
    for heading in _PICTURE:
        shown = [group for group in groups if any(mean(rows, group, method, heading) is not None for method in methods)]
        if not shown:
            continue
        series = {method: [mean(rows, group, method, heading) for group in shown] for method in methods}
        chart = bar_plot(shown, series, title=heading, digits=min(TABLE[heading][2], 2), width=_WIDTH, height=_HEIGHT)
        charts.append(chart)
    return stacked(charts)


def write(rows: Sequence[dict], failures: Sequence[str], notes: Sequence[str], folder: Path) -> str:
    """Write table.txt, cases.csv, results.json and table.svg; returns the table."""
    table = text(rows, failures, notes)
    groups, methods = _groups(rows), list(dict.fromkeys(row["method"] for row in rows))
    means = {
        group: {
            method: {TABLE[heading][0]: mean(rows, group, method, heading) for heading in TABLE}
            for method in methods
        }
        for group in groups
    }  # fmt: skip
    whole = {"cases": list(rows), "means": means, "failures": list(failures), "notes": list(notes)}
    for name, content in {"table.txt": table, "cases.csv": csv_of(rows, COLUMNS), "table.svg": picture(rows),
                          "results.json": json.dumps(whole, indent=2) + "\n"}.items():  # fmt: skip
        (folder / name).write_text(content, encoding="utf-8")
    return table


def _groups(rows: Sequence[dict]) -> list[str]:
    return list(dict.fromkeys(row["group"] for row in rows))
