"""The frame of an SVG plot: scales, ticks, grid lines, titles and the legend. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

PALETTE = ("#3b6fb6", "#e08a2e", "#3f9d6a", "#b5495b", "#7a68ae", "#6b7280", "#c2a83e", "#4aa3b5")
INK, MUTED, RULE = "#222222", "#555555", "#e3e3e3"
FONT = "font-family=\"'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif\""
_LONGEST_TICK = 28  # letters, for which there is room below the axis
_WIDTH_OF_LETTER = 0.56  # of the font size, on average; text cannot be measured without a font engine


@dataclass
class Axes:
    """A plot in the making: a rectangle with a linear or logarithmic y axis, and elements added one by one.

    Attributes:
        width, height: of the whole picture in CSS pixels.
        x_limits, y_limits: data values at the ends of the axes.
        x_ticks: positions with words; None makes round numbers.
        y_log: logarithmic y axis.
    """

    width: int
    height: int
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    x_ticks: Sequence[tuple[float, str]] | None = None
    y_log: bool = False
    legend: Sequence[tuple[str, str]] = ()  # (name, colour)
    elements: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.y_log:
            self.y_limits = max(self.y_limits[0], 1e-12), max(self.y_limits[1], 2e-12)
        if self.x_ticks is not None:
            self.x_ticks = [(place, shortened(words, _LONGEST_TICK)) for place, words in self.x_ticks]
        ticks = self.x_ticks or []
        self._y_ticks = log_ticks(*self.y_limits) if self.y_log else ticks_between(*self.y_limits)
        widest = max((len(text) for _, text in self._y_ticks), default=1)
        self.left = 14 + (18 if self.y_label else 0) + widest * 11 * _WIDTH_OF_LETTER
        self.right = self.width - 14
        rows = self._legend_rows()
        self.top = 12 + (22 if self.title else 0) + 18 * len(rows)
        room = (self.right - self.left) / max(len(ticks), 1)
        longest = max((len(text) for _, text in ticks), default=0) * 11 * _WIDTH_OF_LETTER
        self._tilted = longest > room - 4
        if self._tilted:  # the first words must not run out at the left
            reach = 0.82 * len(ticks[0][1]) * 11 * _WIDTH_OF_LETTER
            self.left = max(self.left, min(reach - room / 2 + 10, self.width / 4))
        self.bottom = self.height - 24 - (18 if self.x_label else 0) - (min(longest * 0.6, 90) if self._tilted else 0)

    def x(self, value: float) -> float:
        """Column in CSS pixels of a value on the x axis."""
        low, high = self.x_limits
        return self.left + (value - low) / ((high - low) or 1) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Row in CSS pixels of a value on the y axis."""
        low, high = self.y_limits
        if self.y_log:
            value, low, high = (math.log10(max(v, 1e-12)) for v in (value, low, high))
        return self.bottom - (value - low) / ((high - low) or 1) * (self.bottom - self.top)

    def add(self, element: str) -> None:
        """Draw an SVG element over what is there."""
        self.elements.append(element)

    def svg(self) -> str:
        """The whole picture as an `<svg>` element, to be written to a file or put into a page."""
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" role="img" {FONT}>',
            f"<title>{escape(self.title or self.y_label)}</title>",
            f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>',
        ]
        if self.title:
            parts.append(text(self.left, 22, self.title, size=14, weight=600))
        parts += self._legend()
        for value, words in self._y_ticks:
            parts.append(line(self.left, self.y(value), self.right, self.y(value), RULE))
            parts.append(text(self.left - 6, self.y(value) + 4, words, colour=MUTED, anchor="end"))
        for value, words in self.x_ticks if self.x_ticks is not None else ticks_between(*self.x_limits):
            parts.append(line(self.x(value), self.bottom, self.x(value), self.bottom + 4, MUTED))
            if self._tilted:
                place = f'transform="translate({self.x(value):.1f} {self.bottom + 14:.1f}) rotate(-35)"'
                parts.append(f'<text {place} font-size="11" fill="{MUTED}" text-anchor="end">{escape(words)}</text>')
            else:
                parts.append(text(self.x(value), self.bottom + 17, words, colour=MUTED, anchor="middle"))
        parts += self.elements
        parts.append(line(self.left, self.bottom, self.right, self.bottom, MUTED))
        if self.x_label:
            centre = (self.left + self.right) / 2
            parts.append(text(centre, self.height - 8, self.x_label, colour=INK, anchor="middle"))
        if self.y_label:
            middle = (self.top + self.bottom) / 2
            parts.append(
                f'<text transform="translate(14 {middle:.1f}) rotate(-90)" font-size="11" fill="{INK}" '
                f'text-anchor="middle">{escape(self.y_label)}</text>'
            )
        return "\n".join([*parts, "</svg>"])

    def _legend_rows(self) -> list[list[tuple[str, str]]]:
        rows: list[list[tuple[str, str]]] = []
        used = math.inf
        for entry in self.legend:
            needed = 26 + len(entry[0]) * 12 * _WIDTH_OF_LETTER
            if used + needed > self.width - 60:
                rows.append([])
                used = 0.0
            rows[-1].append(entry)
            used += needed
        return rows

    def _legend(self) -> list[str]:
        parts = []
        for row, entries in enumerate(self._legend_rows()):
            left, middle = self.left, 20 + (22 if self.title else 0) + 18 * row - 6
            for name, colour in entries:
                parts.append(f'<rect x="{left:.1f}" y="{middle - 5}" width="12" height="10" fill="{colour}"/>')
                parts.append(text(left + 17, middle + 4, name, colour=INK))
                left += 26 + len(name) * 12 * _WIDTH_OF_LETTER
        return parts


def text(
    x: float, y: float, words: str, size: int = 11, colour: str = INK, anchor: str = "start", weight: int = 400
) -> str:
    """A line of words as an SVG element; `x`, `y` is the start, middle or end of its baseline, as `anchor` says."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def shortened(words: str, most: int) -> str:
    """Words of at most so many letters, the last one an ellipsis where some are left out."""
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    """A straight line as an SVG element."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width:g}"/>'


def ticks_between(low: float, high: float, about: int = 5) -> list[tuple[float, str]]:
    """Round numbers from `low` to `high`, with their words; steps of 1, 2 or 5 times a power of ten."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [(low, f"{low:g}")]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.7)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    if digits > 5 or abs(high) >= 1e6:
        return [(i * step, f"{i * step:.3g}") for i in range(first, last + 1)]
    return [(i * step, f"{i * step + 0.0:.{digits}f}") for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Powers of ten from `low` to `high`, and 2 and 5 times them where they are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    values = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [(value, f"{value:g}") for value in values if low * 0.999 <= value <= high * 1.001]


def limits_of(values: Sequence[float | None], include_zero: bool = False, margin: float = 0.05) -> tuple[float, float]:
    """Ends of an axis that shows all `values` with a little room; (0, 1) if there are none."""
    finite = [float(value) for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    if include_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * margin or (abs(high) * 0.1 or 1.0)
    return (low if include_zero and low == 0 else low - room), (high if include_zero and high == 0 else high + room)
