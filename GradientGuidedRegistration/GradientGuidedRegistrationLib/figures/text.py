"""Words on pictures, drawn by VTK's FreeType font engine; needs no window and no graphics driver."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

Colour = tuple[int, int, int]


@lru_cache(maxsize=1024)
def text_mask(text: str, size: int, bold: bool = False) -> tuple[np.ndarray, int]:
    """Coverage [0, 1] (height, width) of a line of text, and how many of its rows lie below the baseline."""
    import vtkmodules.vtkRenderingFreeType  # noqa: F401  registers the font engine
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkRenderingCore import vtkTextProperty, vtkTextRenderer

    if not text.strip():
        return np.zeros((1, 1), np.float32), 0
    style = vtkTextProperty()
    style.SetFontFamilyToArial()
    style.SetFontSize(size)
    style.SetBold(bold)
    style.SetColor(1, 1, 1)
    image, used, box = vtkImageData(), [0, 0], [0, 0, 0, 0]
    renderer = vtkTextRenderer.GetInstance()
    # "$" would start mathematics, and "|", which cannot be escaped, a new column
    text = text.replace("$", "\\$").replace("|", "/")
    if renderer is None or not renderer.RenderString(style, text, image, used, 72):
        raise RuntimeError(f"VTK could not draw the text {text!r}")
    renderer.GetBoundingBox(style, text, box, 72)
    width, height, _ = image.GetDimensions()
    alpha = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[..., -1]
    return (alpha[: used[1], : used[0]][::-1] / np.float32(255)), max(0, -box[2])


def text_width(text: str, size: int, bold: bool = False) -> int:
    """Width of a line of text in pixels."""
    return text_mask(text, size, bold)[0].shape[1]


def draw_text(
    canvas: np.ndarray,
    text: str,
    position: tuple[float, float],
    size: int = 13,
    colour: Colour = (255, 255, 255),
    align: str = "left",
    bold: bool = False,
    shadow: bool = False,
) -> None:
    """Write a line into `canvas` uint8 (height, width, 3), in place.

    Args:
        position: column and row of the baseline's start, centre or end, as `align` says.
        shadow: a dark rim that keeps the words readable on any picture.
    """
    mask, below = text_mask(text, size, bold)
    height, width = mask.shape
    left = round(position[0] - {"left": 0, "centre": width / 2, "right": width}[align])
    top = round(position[1]) - (height - below)
    if shadow:
        for shift in ((-1, 0), (1, 0), (0, -1), (0, 1), (1, 1), (-1, -1), (1, -1), (-1, 1)):
            _stamp(canvas, mask * np.float32(0.8), left + shift[0], top + shift[1], (0, 0, 0))
    _stamp(canvas, mask, left, top, colour)


def _stamp(canvas: np.ndarray, mask: np.ndarray, left: int, top: int, colour: Colour) -> None:
    rows = slice(max(top, 0), min(top + mask.shape[0], canvas.shape[0]))
    columns = slice(max(left, 0), min(left + mask.shape[1], canvas.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    part = mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left, None]
    area = canvas[rows, columns]
    area[:] = np.round(area + (np.array(colour, np.float32) - area) * part).astype(np.uint8)
