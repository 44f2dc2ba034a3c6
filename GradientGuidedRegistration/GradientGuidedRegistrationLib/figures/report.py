"""One registration as one HTML file that can be sent: verdict, figures, tables, plots, settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from ..evaluation import WorstBoundary, compare_registered, csv_of, field_metrics, rows_of, seen_part
from ..evaluation.field import region_mask
from ..evaluation.plots import BEFORE_AFTER, bar_plot, histogram_plot
from ..registration.trust import VERDICTS
from ..whole_files import write_bytes
from . import html
from .case import describe_case, render_pages
from .earlier import REPORT_NAME, TABLE_NAME, is_of_a_report
from .page import PanelRenderer
from .render import render_panel
from .views import as_point

if TYPE_CHECKING:
    from ..registration.result import Result

_MOST_BARS, _CATEGORY_WIDTH = 50, 20  # a plot that is as wide as the page, in CSS pixels
_OF_LABELS = ("outlines.png", TABLE_NAME)  # only where there are any


def write_report(
    result: Result,
    fixed: sitk.Image,
    moving: sitk.Image,
    directory: str | Path,
    *,
    fixed_labels: sitk.Image | None = None,
    moving_labels: sitk.Image | None = None,
    case: str = "",
    label_names: Mapping[int, str] | None = None,
    metrics: Mapping[str, Any] | None = None,
    render: PanelRenderer = render_panel,
) -> Path:
    """Write `report.html`, its pictures as PNG files and, if there are labels, `labels.csv` into `directory`.

    The files of an earlier report that was there are replaced, or removed.

    Args:
        result: outcome of the registration; verdict and reasons are taken from `result.quality` if it has them.
        fixed, moving: the images, LPS. Nothing is taken from their headers: no names of patients.
        fixed_labels, moving_labels: segmentations on any grid.
        case: title of the report; the caller chooses it, and with it what it gives away.
        label_names: words for label values; those of `metrics` if None.
        metrics: `compare_labels` value and `field_metrics` figures if they are known already; computed otherwise.
        render: makes the picture of a panel.

    Returns:
        The HTML file.
    """
    directory = Path(directory)
    earlier = _OF_LABELS if is_of_a_report(directory / REPORT_NAME) else ()
    metrics = dict(metrics or {})
    if label_names is None:
        label_names = {int(label): entry["name"] for label, entry in (metrics.get("labels") or {}).items()}
    if fixed_labels is not None and moving_labels is not None and "labels" not in metrics:
        metrics |= compare_registered(fixed_labels, moving_labels, fixed, moving, result.field, label_names)
    place = metrics.get("worst")
    worst = WorstBoundary(**{**place, "point": as_point(place["point"])}) if place else None
    volumes, pages = describe_case(result, fixed, moving, fixed_labels, moving_labels, label_names, worst)
    region, jacobian = seen_part(fixed, result.field), volumes["jacobian"].image
    if "folding_percent" not in metrics:
        metrics |= field_metrics(result.field, region, jacobian)
    pictures = render_pages(pages, volumes, directory, render)
    figures = [html.figure(file.read_bytes(), page.caption, page.title) for file, page in zip(pictures, pages)]

    title = f"CT-MR registration: {case}" if case else "CT-MR registration"
    rows = rows_of(metrics)
    body = [
        f"<h1>{escape(title)}</h1>",
        '<p class="quiet">Deformable registration of the moving onto the fixed image. '
        "For research; not for diagnosis.</p>",
        _verdict(result.quality),
        html.cards(_headline(metrics)),
        "<h2>Images</h2>",
        *figures,
    ]
    if rows:
        write_bytes(directory / TABLE_NAME, csv_of(rows).encode("utf-8"))
        body += _label_section(rows)
    body += [
        "<h2>Deformation</h2>",
        f'<div class="plots">{_jacobian_plot(jacobian, region)}</div>',
        *_made(result),
    ]
    report = write_bytes(directory / REPORT_NAME, html.page(title, body).encode("utf-8"))
    for name in set(earlier) - {file.name for file in pictures} - ({TABLE_NAME} if rows else set()):
        (directory / name).unlink(missing_ok=True)
    return report


def _verdict(quality: Mapping[str, Any]) -> str:
    verdict = quality.get("verdict")
    if verdict not in VERDICTS:
        return ""
    items = "".join(f"<li>{escape(str(reason))}</li>" for reason in quality.get("reasons", ()))
    words = escape(VERDICTS[verdict])
    return f'<div class="verdict {verdict}"><strong>{words}</strong>{f"<ul>{items}</ul>" if items else ""}</div>'


def _headline(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    entries = []
    mean = metrics.get("mean") or {}
    for key, words, digits in (("dice", "mean Dice", 3), ("asd_mm", "mean ASD (mm)", 2)):
        before, after = ((mean.get(when) or {}).get(key) for when in ("before", "after"))
        if before is not None or after is not None:
            entries.append(
                (f"{html.written(before, digits)} → {html.written(after, digits)}", f"{words}, before → after")
            )
    if metrics.get("folding_percent") is not None:
        entries.append((f"{metrics['folding_percent']:.3f} %", "folding"))
    if metrics.get("sd_log_jacobian") is not None:
        entries.append((f"{metrics['sd_log_jacobian']:.3f}", "sd of log Jacobian"))
    displacement = metrics.get("displacement_mm") or {}
    if displacement.get("mean") is not None:
        entries.append((f"{displacement['mean']:.1f} / {displacement['max']:.1f} mm", "displacement, mean / largest"))
    return entries


def _label_section(rows: list[dict[str, Any]]) -> list[str]:
    header = ["Structure", "Dice before", "after", "ASD (mm) before", "after", "HD95 (mm) before", "after"]
    header += ["Volume fixed (ml)", "moving", "warped"]
    keys = [f"{measure}_{when}" for measure in ("dice", "asd_mm", "hd95_mm") for when in ("before", "after")]
    keys += ["fixed_volume_ml", "moving_volume_ml", "warped_volume_ml"]
    digits = dict.fromkeys(keys, 2) | {"dice_before": 3, "dice_after": 3} | dict.fromkeys(keys[-3:], 1)
    cells = [[row["name"], *(html.written(row[key], digits[key]) for key in keys)] for row in rows]
    structures = [row for row in rows if row["label"] != ""]
    plotted = _worst(structures)
    plots = [
        bar_plot(
            [row["name"] for row in plotted],
            {when: [row[f"{measure}_{when}"] for row in plotted] for when in ("before", "after")},
            title=words, y_label=words, y_limits=limits, colours=BEFORE_AFTER,
            width=max(560, 80 + _CATEGORY_WIDTH * len(plotted)), height=300,
        )
        for measure, words, limits in (("dice", "Dice", (0.0, 1.08)), ("asd_mm", "ASD (mm)", _limits(plotted)))
    ]  # fmt: skip
    return [
        "<h2>Structures</h2>",
        html.table(header, cells, mean_row=len(cells) > len(structures)),
        '<p class="quiet">Dice: twice the common voxels over the sum of both. ASD: symmetric average surface distance, '
        "weighted by surface area. HD95: larger of the two 95th percentiles of the surface distances. – : not defined, "
        "the structure is missing in one of the images.</p>",
        _copied_note(structures),
        _plotted_note(plotted, structures),
        f'<div class="plots">{"".join(plots)}</div>',
    ]


def _worst(structures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All structures in their order if their bars can be told apart; otherwise those with the lowest Dice after."""
    if len(structures) <= _MOST_BARS:
        return structures
    defined = [row for row in structures if row["dice_after"] is not None]
    return sorted(defined, key=lambda row: row["dice_after"])[:_MOST_BARS]


def _plotted_note(plotted: list[dict[str, Any]], structures: list[dict[str, Any]]) -> str:
    if len(plotted) == len(structures):
        return ""
    shown = f"{len(plotted)} of {len(structures)} structures"
    return f'<p class="quiet">The plots show the {shown} with the lowest Dice after registration, lowest first.</p>'


def _limits(structures: list[dict[str, Any]]) -> tuple[float, float]:
    """Ends of the axis of the ASD: a structure far off all others must not press these flat."""
    values = [row[f"asd_mm_{when}"] for row in structures for when in ("before", "after")]
    known = [value for value in values if value is not None]
    usual = [value for value in known if value <= 3 * float(np.quantile(known, 0.8))]
    return 0.0, 1.12 * max(usual, default=0.0) or 1.0


def _copied_note(structures: list[dict[str, Any]]) -> str:
    """Segmentations that agree to the voxel before registration were not drawn twice."""
    copied = [row["name"] for row in structures if row["dice_before"] == 1.0]
    if not copied:
        return ""
    return (
        f'<div class="verdict check">{escape(", ".join(copied))}: the two segmentations are the same, voxel by voxel, '
        "before registration. They were probably drawn on one image and copied to the other; then their overlap says "
        "nothing about how well the anatomy agrees.</div>"
    )


def _jacobian_plot(jacobian: sitk.Image, region: sitk.Image) -> str:
    values = sitk.GetArrayFromImage(jacobian)[region_mask(jacobian, region)]
    if not values.size:
        return ""
    low = min(0.0, float(np.floor(np.percentile(values, 0.01) * 4) / 4))
    edges = np.linspace(low, 2.5, 76)
    counts, _ = np.histogram(np.clip(values, low, 2.5), edges)
    colours = ["#c9a400" if right <= 0 else "#3b6fb6" for right in edges[1:]]
    return histogram_plot(
        (100 * counts / values.size).tolist(), edges.tolist(), title="Jacobian determinant in the fixed field of view",
        x_label="volume of the moving over the fixed image; below 0: folding; the last bar holds all above",
        y_label="Voxels (%)", marks={"no change": 1.0}, colours=colours, width=760,
    )  # fmt: skip


def _made(result: Result) -> list[str]:
    settings: Any = result.settings
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        settings = dataclasses.asdict(settings)
    parts = []
    quality = {key: value for key, value in (result.quality or {}).items() if key not in ("verdict", "reasons")}
    for title, values in (
        ("Quality figures", quality),
        ("Seconds", result.timings),
        ("Settings", settings),
        ("Versions", result.versions),
    ):
        if isinstance(values, Mapping) and values:
            parts.append(f"<div><h3>{escape(title)}</h3>{html.facts(values)}</div>")
    return ["<h2>How it was made</h2>", f'<div class="plots">{"".join(parts)}</div>'] if parts else []
