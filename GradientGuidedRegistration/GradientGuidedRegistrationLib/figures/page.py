"""Panels side by side on a page, with titles, orientation letters, a scale bar and a legend."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..evaluation.colour_tables import apply_table
from .colours import BACKGROUND, LETTER, MUTED, TEXT
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
    content = max(sum(widths) + GAP * (columns - 1), 420, text_width(page.title, 16, True))
    legend = _legend_lines(page, content)
    bands = [_band(page, index) for index in range(len(page.rows))]
    height = 2 * MARGIN + TITLE + sum(band.height for band in bands) + LEGEND * len(legend)
    canvas = np.empty((height, 2 * MARGIN + content, 3), np.uint8)
    canvas[:] = PAGE_COLOUR
    draw_text(canvas, page.title, (MARGIN, MARGIN + 15), 16, TEXT, bold=True)
    top = MARGIN + TITLE
    for row, band in zip(page.rows, bands, strict=True):
        _draw_row(canvas, row, band, widths, top, volumes, render)
        top += band.height
    for line in legend:
        _draw_legend(canvas, line, top + 4)
        top += LEGEND
    return canvas


class _Band(NamedTuple):
    """Heights in a row of panels: words for the whole row, titles of the panels, pictures."""

    label: str
    titles: bool
    pictures: int

    @property
    def header(self) -> int:
        return HEADER * (bool(self.label) + self.titles)

    @property
    def height(self) -> int:
        return self.header + self.pictures + GAP


def _band(page: Page, index: int) -> _Band:
    """Titles are written once where all rows have the same; a row of one plane says which plane it is."""
    row = page.rows[index]
    positions = {panel.view.position_text for panel in row}
    titles = [panel.title for panel in row]
    label = positions.pop() if len(positions) == 1 and titles[0] not in positions else ""
    repeated = index > 0 and titles == [panel.title for panel in page.rows[index - 1]]
    return _Band("" if label in titles else label, not repeated, max(panel.view.size[1] for panel in row))


def _draw_row(
    canvas: np.ndarray,
    row: tuple[Panel, ...],
    band: _Band,
    widths: list[int],
    top: int,
    volumes: Volumes,
    render: PanelRenderer,
) -> None:
    left = MARGIN
    if band.label:
        draw_text(canvas, band.label, (left, top + band.header - 6), 12, MUTED)
    for index, (panel, width) in enumerate(zip(row, widths[: len(row)], strict=True)):
        if band.titles:
            draw_text(canvas, panel.title, (left, top + 14), 13, TEXT)
        cell = canvas[top + band.header : top + band.header + band.pictures, left : left + width]
        cell[:] = BACKGROUND
        picture = render(panel, volumes)
        down, across = (cell.shape[0] - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
        place = cell[down : down + picture.shape[0], across : across + picture.shape[1]]
        place[:] = picture
        _annotate(place, panel, scale_bar=index == 0)
        left += width + GAP


def _width(panel: Panel) -> int:
    return max(panel.view.size[0], text_width(panel.title, 13) + GAP)


def _annotate(picture: np.ndarray, panel: Panel, scale_bar: bool) -> None:
    height, width = picture.shape[:2]
    left, right, upper, lower = panel.view.axes.letters
    for letter, position, align in (
        (left, (4, height / 2 + 5), "left"),
        (right, (width - 4, height / 2 + 5), "right"),
        (upper, (width / 2, 15), "centre"),
        (lower, (width / 2, height - 5), "centre"),
    ):
        draw_text(picture, letter, position, 14, LETTER, align, bold=True, shadow=True)
    if scale_bar:
        lengths = (100, 50, 20, 10, 5, 2, 1, 0.5, 0.2)
        length_mm = next((n for n in lengths if n / panel.view.pixel_mm < 0.35 * width), 0.1)
        pixels = round(length_mm / panel.view.pixel_mm)
        row, column = height - 8, width - 8 - pixels
        words = f"{length_mm / 10:g} cm" if length_mm > 2 else f"{length_mm:g} mm"
        # on a darkened patch, since bone and fat are as white as the bar
        patch = picture[height - 25 : height - 3, width - 12 - max(pixels, text_width(words, 11)) : width - 4]
        patch[:] = patch * 0.3
        picture[row : row + 2, column : column + pixels] = 255
        draw_text(picture, words, (width - 8, height - 12), 11, TEXT, "right", shadow=True)


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
