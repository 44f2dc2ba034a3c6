"""Plots as SVG text: lines, bars, boxes, histogram. No dependency beyond the standard library.

Each function returns one `<svg>` element; missing values are None or NaN and leave a gap. All words are escaped.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .axes import FONT, INK, MUTED, PALETTE, Axes, limits_of, line, text

if TYPE_CHECKING:
    from typing import TypeGuard

Value = float | int | None
_BETWEEN = 10  # CSS pixels between stacked plots
BEFORE_AFTER = (PALETTE[5], PALETTE[0])  # the same in every plot and in the application's


def line_plot(
    series: Mapping[str, Sequence[tuple[float, Value]]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    y_log: bool = False,
    width: int = 640,
    height: int = 320,
) -> str:
    """Curves through (x, y) points, one colour a series; such as the loss over the steps of a training."""
    points = {name: [(x, y) for x, y in curve if _known(x)] for name, curve in series.items()}
    xs = [x for curve in points.values() for x, _ in curve]
    ys = [y for curve in points.values() for _, y in curve if _known(y) and (not y_log or y > 0)]
    y_limits = (min(ys) / 1.2, max(ys) * 1.2) if y_log and ys else limits_of(ys)
    colours = _colours(series)
    axes = Axes(
        width, height, (min(xs, default=0), max(xs, default=1)), y_limits, title, x_label, y_label, y_log=y_log,
        legend=list(colours.items()) if len(colours) > 1 else (),
    )  # fmt: skip
    for name, curve in points.items():
        pieces: list[list[tuple[float, float]]] = [[]]
        for x, y in curve:
            if _known(y) and (not y_log or y > 0):
                pieces[-1].append((axes.x(x), axes.y(y)))
            elif pieces[-1]:
                pieces.append([])
        for piece in pieces:
            if len(piece) == 1:
                (across, down) = piece[0]
                axes.add(f'<circle cx="{across:.1f}" cy="{down:.1f}" r="2" fill="{colours[name]}"/>')
            elif piece:
                corners = " ".join(f"{across:.1f},{down:.1f}" for across, down in piece)
                axes.add(
                    f'<polyline points="{corners}" fill="none" stroke="{colours[name]}" '
                    'stroke-width="1.8" stroke-linejoin="round"/>'
                )
    return axes.svg()


def bar_plot(
    categories: Sequence[str],
    series: Mapping[str, Sequence[Value]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    y_limits: tuple[float, float] | None = None,
    digits: int = 2,
    colours: Sequence[str] = PALETTE,
    width: int = 640,
    height: int = 320,
) -> str:
    """Groups of bars from zero: for each category one bar a series, with its value above where there is room.

    Bars that are longer than `y_limits` allow end at the plot's upper edge, with an arrow and always with their value.
    """
    values = [value for column in series.values() for value in column]
    y_limits = y_limits or limits_of(values, include_zero=True, margin=0.12)
    ticks = [(index + 0.5, name) for index, name in enumerate(categories)]
    colour_of = dict(zip(series, itertools.cycle(colours)))
    axes = Axes(
        width, height, (0, max(len(categories), 1)), y_limits, title, x_label, y_label, ticks,
        legend=list(colour_of.items()) if len(colour_of) > 1 else (),
    )  # fmt: skip
    share = 0.76 / max(len(series), 1)
    for place, (name, column) in enumerate(series.items()):
        for index, value in enumerate(column):
            left = axes.x(index + 0.12 + place * share)
            bar = axes.x(index + 0.12 + (place + 1) * share) - left
            bar -= min(1.5, bar / 4)
            if not _known(value):
                axes.add(text(left + bar / 2, axes.y(max(0, y_limits[0])) - 4, "–", colour=MUTED, anchor="middle"))
                continue
            cut = value > y_limits[1]
            top, bottom = sorted((axes.y(min(value, y_limits[1])), axes.y(max(0.0, y_limits[0]))))
            axes.add(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{bar:.1f}" height="{max(bottom - top, 0.5):.1f}" '
                f'fill="{colour_of[name]}"/>'
            )
            words = f"{value:.{digits}f}" + " ↑" * cut
            if cut or bar >= 5.6 * len(words):
                axes.add(text(left + bar / 2, top - 4, words, size=10, colour=MUTED, anchor="middle"))
    return axes.svg()


def box_plot(
    groups: Mapping[str, Sequence[Value]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    colours: Sequence[str] = (PALETTE[0],),
    width: int = 640,
    height: int = 320,
) -> str:
    """Median, quartiles, whiskers to the last value within 1.5 interquartile ranges, and every value as a dot.

    `colours` are taken in turn, so that two of them tell pairs of groups (before, after) apart.
    """
    known = {name: sorted(float(value) for value in values if _known(value)) for name, values in groups.items()}
    ticks = [(index + 0.5, name) for index, name in enumerate(groups)]
    everything = [value for values in known.values() for value in values]
    low, high = limits_of(everything)
    limits = (low if any(value < 0 for value in everything) else max(low, 0.0), high)
    axes = Axes(width, height, (0, max(len(groups), 1)), limits, title, x_label, y_label, ticks)
    for index, values in enumerate(known.values()):
        colour = colours[index % len(colours)]
        centre, half = axes.x(index + 0.5), min(26.0, (axes.x(1) - axes.x(0)) * 0.3)
        if not values:
            axes.add(text(centre, axes.bottom - 4, "–", colour=MUTED, anchor="middle"))
            continue
        if len(values) >= 4:
            lower, median, upper = (quantile(values, share) for share in (0.25, 0.5, 0.75))
            reach = 1.5 * (upper - lower)
            low = min(value for value in values if value >= lower - reach)
            high = max(value for value in values if value <= upper + reach)
            for start, end in ((low, lower), (upper, high)):
                axes.add(line(centre, axes.y(start), centre, axes.y(end), colour, 1.4))
            for value in (low, high):
                axes.add(line(centre - half / 2, axes.y(value), centre + half / 2, axes.y(value), colour, 1.4))
            axes.add(
                f'<rect x="{centre - half:.1f}" y="{axes.y(upper):.1f}" width="{2 * half:.1f}" '
                f'height="{axes.y(lower) - axes.y(upper):.1f}" fill="{colour}" fill-opacity="0.18" '
                f'stroke="{colour}" stroke-width="1.4"/>'
            )
            axes.add(line(centre - half, axes.y(median), centre + half, axes.y(median), colour, 2.6))
        for order, value in enumerate(values):
            # side by side in a fixed pattern, so that equal values do not hide each other
            shift = ((order * 0.618 + 0.5) % 1 - 0.5) * half * 0.9
            axes.add(
                f'<circle cx="{centre + shift:.1f}" cy="{axes.y(value):.1f}" r="2.2" fill="{colour}" '
                'fill-opacity="0.65"/>'
            )
    return axes.svg()


def histogram_plot(
    counts: Sequence[float],
    edges: Sequence[float],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    marks: Mapping[str, float] | None = None,
    colours: Sequence[str] | None = None,
    width: int = 640,
    height: int = 280,
) -> str:
    """Bars between `edges` (one more than `counts`, as `numpy.histogram` gives them).

    `marks` draws named vertical lines; `colours` gives each bar its own colour.
    """
    if len(edges) != len(counts) + 1:
        raise ValueError(f"{len(counts)} counts need {len(counts) + 1} edges, got {len(edges)}")
    axes = Axes(
        width, height, (float(edges[0]), float(edges[-1])), limits_of(counts, include_zero=True, margin=0.15),
        title, x_label, y_label,
    )  # fmt: skip
    for index, count in enumerate(counts):
        left, right, top = axes.x(edges[index]), axes.x(edges[index + 1]), axes.y(count)
        colour = colours[index] if colours else PALETTE[0]
        if count > 0:
            axes.add(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 0.6, 0.4):.1f}" '
                f'height="{axes.bottom - top:.1f}" fill="{colour}"/>'
            )
    for name, value in (marks or {}).items():
        axes.add(line(axes.x(value), axes.top, axes.x(value), axes.bottom, INK, 1.2))
        late = axes.x(value) > axes.left + 0.8 * (axes.right - axes.left)
        place = (axes.x(value) + (-5 if late else 5), axes.top + 10)
        axes.add(text(*place, name, anchor="end" if late else "start"))
    return axes.svg()


def stacked(plots: Sequence[str]) -> str:
    """Plots of this file, one below the other, as one `<svg>`.

    In groups: an `<svg>` within an `<svg>` is passed over by Qt's viewers.
    """
    groups, widths, bottom = [], [0], 0
    for plot in plots:
        head, _, content = plot.removesuffix("</svg>").partition(">")
        width, height = (int(re.findall(rf' {side}="(\d+)"', head)[0]) for side in ("width", "height"))
        groups.append(f'<g transform="translate(0 {bottom})">{content}</g>')
        widths.append(width)
        bottom += height + _BETWEEN
    size = max(widths), max(bottom - _BETWEEN, 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" {FONT}>\n' + "\n".join([*groups, "</svg>"])
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between the ordered values, as `numpy.quantile`."""
    position = (len(ordered) - 1) * share
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def _known(value: Any) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _colours(series: Mapping[str, object]) -> dict[str, str]:
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(series)}
