"""Panels side by side on a page, with titles, orientation letters, a scale bar and a legend."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .colours import BACKGROUND, LETTER, MUTED, TEXT, apply_table
from .composition import ColourBar, Page, Panel, Swatch
from .render import Volumes, render_panel
from .text import draw_text, text_width

MARGIN, GAP, TITLE, HEADER, LEGEND = 10, 8, 30, 20, 26
PAGE_COLOUR = (18, 18, 20)

PanelRenderer = Callable[[Panel, Volumes], np.ndarray]


def render_page(page: Page, volumes: Volumes, render: PanelRenderer = render_panel) -> np.ndarray:
    """The page's pixels, uint8 (height, width, 3). `render` makes the picture of one panel, without words."""
    columns = max(len(row) for row in page.rows)
    widths = [max(_width(row[i]) for row in page.rows if i < len(row)) for i in range(columns)]
    heights = [max(panel.view.size[1] for panel in row) for row in page.rows]
    legend = _legend_lines(page, max(sum(widths) + GAP * (columns - 1), 420))
    content = max(sum(widths) + GAP * (columns - 1), 420, text_width(page.title, 16, True))
    canvas = np.empty(
        (
            2 * MARGIN + TITLE + sum(heights) + len(heights) * HEADER + GAP * (len(heights) - 1) + LEGEND * len(legend),
            2 * MARGIN + content,
            3,
        ),
        np.uint8,
    )
    canvas[:] = PAGE_COLOUR
    draw_text(canvas, page.title, (MARGIN, MARGIN + 15), 16, TEXT, bold=True)
    top = MARGIN + TITLE
    for row, height in zip(page.rows, heights, strict=True):
        left = MARGIN
        for index, (panel, width) in enumerate(zip(row, widths[: len(row)], strict=True)):
            draw_text(canvas, panel.title, (left, top + 14), 13, TEXT)
            cell = canvas[top + HEADER : top + HEADER + height, left : left + width]
            cell[:] = BACKGROUND
            picture = render(panel, volumes)
            down, across = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
            place = cell[down : down + picture.shape[0], across : across + picture.shape[1]]
            place[:] = picture
            _annotate(place, panel, first=index == 0)
            left += width + GAP
        top += HEADER + height + GAP
    for line in legend:
        _draw_legend(canvas, line, top)
        top += LEGEND
    return canvas


def _width(panel: Panel) -> int:
    return max(panel.view.size[0], text_width(panel.title, 13))


def _annotate(picture: np.ndarray, panel: Panel, first: bool) -> None:
    height, width = picture.shape[:2]
    left, right, upper, lower = panel.view.axes.letters
    for letter, position, align in (
        (left, (4, height / 2 + 5), "left"),
        (right, (width - 4, height / 2 + 5), "right"),
        (upper, (width / 2, 15), "centre"),
        (lower, (width / 2, height - 5), "centre"),
    ):
        draw_text(picture, letter, position, 14, LETTER, align, bold=True, shadow=True)
    if first:
        position = panel.view.position_text
        if panel.title != position and text_width(position, 11) < width / 2 - 10:
            draw_text(picture, position, (5, 16), 11, TEXT, shadow=True)
        length_mm = next((n for n in (100, 50, 20, 10, 5) if n / panel.view.pixel_mm < 0.35 * width), 2)
        pixels = round(length_mm / panel.view.pixel_mm)
        row, column = height - 8, width - 8 - pixels
        picture[row - 1 : row + 3, column - 1 : column + pixels + 1] = 0
        picture[row : row + 2, column : column + pixels] = 255
        draw_text(picture, f"{length_mm / 10:g} cm", (width - 8, height - 12), 11, TEXT, "right", shadow=True)


def _legend_width(item: Swatch | ColourBar) -> int:
    words = text_width(item.text, 12)
    return words + (44 if isinstance(item, Swatch) else 30 + 200)


def _legend_lines(page: Page, width: int) -> list[list[Swatch | ColourBar]]:
    lines: list[list[Swatch | ColourBar]] = []
    used = width + 1
    for item in page.legend:
        needed = _legend_width(item)
        if used + needed > width:
            lines.append([])
            used = 0
        lines[-1].append(item)
        used += needed
    return lines


def _draw_legend(canvas: np.ndarray, items: list[Swatch | ColourBar], top: int) -> None:
    left = MARGIN
    for item in items:
        if isinstance(item, Swatch):
            canvas[top + 9 : top + 13, left : left + 22] = item.colour
            draw_text(canvas, item.text, (left + 28, top + 15), 12, MUTED)
        else:
            draw_text(canvas, item.text, (left, top + 15), 12, MUTED)
            start = left + text_width(item.text, 12) + 10
            bar = apply_table(item.table, np.linspace(0, 1, 190))
            canvas[top : top + 8, start : start + 190] = np.round(bar).astype(np.uint8)
            for position, tick in zip(np.linspace(0, 190, len(item.ticks)), item.ticks, strict=True):
                align = "left" if position == 0 else "right" if position == 190 else "centre"
                draw_text(canvas, tick, (start + position, top + 20), 11, MUTED, align)
        left += _legend_width(item)
