"""Many registrations on one page: box plots over the cases, and the worst cases first."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..evaluation.plots import BEFORE_AFTER, box_plot
from ..registration.trust import VERDICTS
from ..whole_files import write_bytes
from . import html
from .earlier import OVERVIEW_NAME


def batch_report(cases: Iterable[Mapping[str, Any]], directory: str | Path) -> Path:
    """Write `overview.html` into `directory`.

    Args:
        cases: for each case "name"; "metrics" as `register.py --metrics` writes them (what is missing is left out);
            "error", the line that said why it failed (optional); "report", the case's report, as a path relative to
            `directory` or below it (optional).

    Returns:
        The HTML file. Failed cases come first, then the others from the lowest mean Dice; where there are no labels,
        from the worst verdict, then from the largest folding, then from the smallest gain in mutual information.
    """
    directory = Path(directory)
    ordered = sorted(cases, key=_badness, reverse=True)
    failed = [case for case in ordered if case.get("error")]
    body = [
        "<h1>CT-MR registrations</h1>",
        f'<p class="quiet">{len(ordered)} cases, {len(failed)} failed. For research; not for diagnosis.</p>',
        f'<div class="plots">{"".join(_plots(ordered))}</div>',
        "<h2>Cases, worst first</h2>",
        _case_table(ordered, directory),
    ]
    if failed:
        body += ["<h2>Failed</h2>", html.table(("Case", "Reason"), [(c["name"], c["error"]) for c in failed], False, 2)]
    structures = _structures(ordered)
    if structures:
        body += ["<h2>Structures</h2>", html.table(_STRUCTURE_HEADER, structures)]
    return write_bytes(directory / OVERVIEW_NAME, html.page("CT-MR registrations", body).encode("utf-8"))


_STRUCTURE_HEADER = ("Structure", "Cases", "Dice before", "after", "ASD (mm) before", "after")


def _badness(case: Mapping[str, Any]) -> tuple[float, ...]:
    metrics, dice = _metrics(case), _mean(case, "after", "dice")
    doubt = ("good", None, "check", "poor").index(metrics.get("verdict"))
    before, after = (_information(case, when) for when in ("before", "after"))
    gain = after - before if before is not None and after is not None else 0.0
    folding = round(metrics.get("folding_percent") or 0.0, 2)
    return (1.0 if case.get("error") else 0.0, -dice if dice is not None else 0.0, doubt, folding, -gain)


def _metrics(case: Mapping[str, Any]) -> Mapping[str, Any]:
    return case.get("metrics") or {}


def _mean(case: Mapping[str, Any], when: str, measure: str) -> float | None:
    return ((_metrics(case).get("mean") or {}).get(when) or {}).get(measure)


def _information(case: Mapping[str, Any], when: str) -> float | None:
    return (_metrics(case).get("mutual_information") or {}).get(when)


def _plots(cases: list[Mapping[str, Any]]) -> list[str]:
    plots = []
    for measure, words in (("dice", "Mean Dice"), ("asd_mm", "Mean ASD (mm)"), ("hd95_mm", "Mean HD95 (mm)")):
        groups = {when: [_mean(case, when, measure) for case in cases] for when in ("before", "after")}
        if any(value is not None for values in groups.values() for value in values):
            plots.append(box_plot(groups, title=words, y_label=words, colours=BEFORE_AFTER, width=360, height=300))
    groups = {when: [_information(case, when) for case in cases] for when in ("before", "after")}
    if any(value is not None for values in groups.values() for value in values):
        words = "Mutual information"
        plots.append(box_plot(groups, title=words, y_label=words, colours=BEFORE_AFTER, width=360, height=300))
    for key, words in (("folding_percent", "Folding (%)"), ("sd_log_jacobian", "sd of log Jacobian")):
        values = [_metrics(case).get(key) for case in cases]
        if any(value is not None for value in values):
            plots.append(box_plot({words: values}, title=words, y_label=words, width=260, height=300))
    return plots


def _case_table(cases: list[Mapping[str, Any]], directory: Path) -> str:
    header = [
        "Case",
        "Verdict",
        "Dice before",
        "after",
        "ASD (mm) before",
        "after",
        "Mutual information before",
        "after",
    ]
    header += ["Folding (%)", "Largest move (mm)"]
    rows = []
    for case in cases:
        report = case.get("report")
        name: str = str(case.get("name", ""))
        if report:
            path = Path(report)
            path = path.relative_to(directory) if path.is_relative_to(directory) else path
            name = html.link(path.as_uri() if path.is_absolute() else quote(path.as_posix()), name)
        largest = (_metrics(case).get("displacement_mm") or {}).get("max")
        rows.append(
            [
                name,
                "Failed" if case.get("error") else VERDICTS.get(_metrics(case).get("verdict", ""), ""),
                *(html.written(_mean(case, when, "dice"), 3) for when in ("before", "after")),
                *(html.written(_mean(case, when, "asd_mm"), 2) for when in ("before", "after")),
                *(html.written(_information(case, when), 3) for when in ("before", "after")),
                html.written(_metrics(case).get("folding_percent"), 3),
                html.written(largest, 1),
            ]
        )
    return html.table(header, rows, text_columns=2)


def _structures(cases: list[Mapping[str, Any]]) -> list[list[str]]:
    """Mean and standard deviation over the cases for each structure, by name."""
    found: dict[str, dict[str, list[float]]] = {}
    for case in cases:
        for label, entry in (_metrics(case).get("labels") or {}).items():
            columns = found.setdefault(entry.get("name") or f"Label {label}", {})
            for measure in ("dice", "asd_mm"):
                for when in ("before", "after"):
                    value = (entry.get(when) or {}).get(measure)
                    if value is not None:
                        columns.setdefault(f"{measure}_{when}", []).append(value)
    rows = []
    for name, columns in found.items():
        count = max((len(values) for values in columns.values()), default=0)
        cells = [
            _spread(columns.get(f"{measure}_{when}", []), digits)
            for measure, digits in (("dice", 3), ("asd_mm", 2))
            for when in ("before", "after")
        ]
        rows.append([name, str(count), *cells])
    return rows


def _spread(values: list[float], digits: int) -> str:
    if not values:
        return "–"
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"
