"""Panels to pixels with numpy and SimpleITK."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import SimpleITK as sitk

from ..evaluation.colour_tables import apply_table
from . import composition as c
from .colours import BACKGROUND, FIRST, SECOND
from .views import SliceView
from .volumes import Volume

Volumes = Mapping[str, Volume]


def render_panel(panel: c.Panel, volumes: Volumes) -> np.ndarray:
    """The picture of a panel without words, uint8 (height, width, 3)."""
    width, height = panel.view.size
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = BACKGROUND
    for layer in panel.layers:
        _PAINTERS[type(layer)](canvas, layer, panel.view, volumes)
    return np.clip(np.round(canvas), 0, 255).astype(np.uint8)


def _blend(canvas: np.ndarray, colour: np.ndarray | c.Colour, alpha: np.ndarray) -> None:
    canvas += (np.asarray(colour, np.float32) - canvas) * alpha[..., None].astype(np.float32)


def _paint_grey(canvas: np.ndarray, layer: c.Grey, view: SliceView, volumes: Volumes) -> None:
    canvas[:] = volumes[layer.volume].grey(view)[..., None] * layer.brightness


def _paint_checker(canvas: np.ndarray, layer: c.Checker, view: SliceView, volumes: Volumes) -> None:
    rows, columns = (np.arange(size) * view.pixel_mm // layer.tile_mm for size in canvas.shape[:2])
    first = (rows[:, None] + columns[None]) % 2 == 0
    pictures = [volumes[name].grey(view) for name in (layer.first, layer.second)]
    canvas[:] = np.where(first, *pictures)[..., None]


def _paint_fusion(canvas: np.ndarray, layer: c.Fusion, view: SliceView, volumes: Volumes) -> None:
    canvas[:] = sum(
        volumes[name].grey(view)[..., None] / 255 * np.array(colour, np.float32)
        for name, colour in ((layer.first, FIRST), (layer.second, SECOND))
    )


def _paint_map(canvas: np.ndarray, layer: c.ColourMap, view: SliceView, volumes: Volumes) -> None:
    values, (low, high) = volumes[layer.volume].slice(view), layer.limits
    outside = np.isnan(values)
    if layer.logarithmic:
        values, low, high = np.log(np.maximum(np.nan_to_num(values, nan=1.0), 1e-6)), np.log(low), np.log(high)
    position = np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1)
    strength = np.ones_like(position)
    if layer.fade:
        strength = np.abs(2 * position - 1) if layer.table == "diverging" else position
        strength = np.clip(1.6 * strength, 0, 1)
    if layer.inside is not None:
        strength = strength * np.clip(np.nan_to_num(volumes[layer.inside].slice(view)), 0, 1)
    _blend(canvas, apply_table(layer.table, position), np.where(outside, 0, strength * layer.opacity))


def _paint_marks(canvas: np.ndarray, layer: c.Marks, view: SliceView, volumes: Volumes) -> None:
    _blend(canvas, layer.colour, (volumes[layer.volume].slice(view) <= layer.at_most).astype(np.float32))


def _paint_contours(canvas: np.ndarray, layer: c.Contours, view: SliceView, volumes: Volumes) -> None:
    values = volumes[layer.volume].slice(view)
    outside = np.isnan(values)
    if outside.all():
        return
    sigma = layer.smooth_mm / view.pixel_mm
    values = smooth(np.where(outside, np.nanmin(values), values), sigma)
    outside = _grown(outside, 2 + int(np.ceil(2 * sigma)))
    for level, colour in layer.levels:
        _blend(canvas, colour, np.where(outside, 0, line_of(values - level, layer.width)))


def _paint_edges(canvas: np.ndarray, layer: c.Edges, view: SliceView, volumes: Volumes) -> None:
    volume = volumes[layer.volume]
    values = volume.slice(view)
    outside = np.isnan(values)
    scaled = np.clip((np.nan_to_num(values, nan=volume.window[0]) - volume.window[0]) / np.ptp(volume.window), 0, 1)
    if min(scaled.shape) < 8:
        return
    sigma = layer.smooth_mm / view.pixel_mm
    last = min(sigma, 4.0)  # the kernels of Canny's filter end after 32 pixels
    scaled = smooth(scaled, float(np.sqrt(sigma**2 - last**2)))
    rise = min(1.0, 3.0 / sigma)  # the wider a border is smoothed, the less it rises from pixel to pixel
    lines = sitk.CannyEdgeDetection(
        sitk.GetImageFromArray(scaled.astype(np.float32)), lowerThreshold=0.02 * rise, upperThreshold=0.06 * rise,
        variance=[last**2] * 2, maximumError=[0.01] * 2,
    )  # fmt: skip
    lines = smooth(sitk.GetArrayFromImage(lines), 0.45)
    _blend(canvas, layer.colour, np.where(_grown(outside, 3), 0, np.clip(1.4 * lines, 0, 1)))


def _paint_outline(canvas: np.ndarray, layer: c.Outline, view: SliceView, volumes: Volumes) -> None:
    values = volumes[layer.volume].slice(view)
    inside = values == layer.label
    if not inside.any():
        return
    margin = 6 + int(layer.width)  # no line reaches farther from the structure
    area = tuple(
        slice(max(int(places.min()) - margin, 0), int(places.max()) + margin + 1) for places in np.nonzero(inside)
    )
    # a distance map, unlike a blurred mask, is straight far enough from the border for wide lines
    mask = sitk.GetImageFromArray(inside[area].astype(np.uint8))
    distance = sitk.SignedMaurerDistanceMap(mask, squaredDistance=False)
    lines = line_of(smooth(sitk.GetArrayFromImage(distance), 0.8) - 0.5, layer.width)
    # where the image ends the structure does not: no line there
    _blend(canvas[area], layer.colour, np.where(_grown(np.isnan(values[area]), 2), 0, lines))


def _paint_warped_grid(canvas: np.ndarray, layer: c.WarpedGrid, view: SliceView, volumes: Volumes) -> None:
    vectors = volumes[layer.volume].slice(view)
    outside = np.isnan(vectors).any(axis=-1)
    mapped = view.points() + np.nan_to_num(vectors)
    for axis in (view.axes.right, view.axes.down):
        coordinate = (mapped @ np.array(axis, float)) / layer.step_mm
        steepness = np.hypot(*np.gradient(coordinate))
        distance = np.abs(coordinate - np.round(coordinate)) / np.maximum(steepness, 1e-6)
        _blend(canvas, layer.colour, np.where(outside, 0, np.clip(layer.width / 2 + 0.5 - distance, 0, 1)))


def _paint_frame(canvas: np.ndarray, layer: c.Frame, view: SliceView, volumes: Volumes) -> None:
    points = layer.view.points()
    corners = np.array([view.pixel_of(tuple(points[row, column])) for row, column in ((0, 0), (-1, -1))])
    left, top = np.round(np.clip(corners.min(axis=0), 0, [canvas.shape[1] - 1, canvas.shape[0] - 1])).astype(int)
    right, bottom = np.round(np.clip(corners.max(axis=0), 0, [canvas.shape[1] - 1, canvas.shape[0] - 1])).astype(int)
    for rows, columns in (
        ((top, top + 1), (left, right + 1)), ((bottom, bottom + 1), (left, right + 1)),
        ((top, bottom + 1), (left, left + 1)), ((top, bottom + 1), (right, right + 1)),
    ):  # fmt: skip
        canvas[slice(*rows), slice(*columns)] = layer.colour


def _paint_ring(canvas: np.ndarray, layer: c.Ring, view: SliceView, volumes: Volumes) -> None:
    column, row = view.pixel_of(layer.point)
    rows, columns = (np.arange(size) for size in canvas.shape[:2])
    distance = np.hypot(rows[:, None] - row, columns[None] - column) - layer.radius_mm / view.pixel_mm
    _blend(canvas, layer.colour, np.clip(layer.width / 2 + 0.5 - np.abs(distance), 0, 1))


_PAINTERS: dict[type, Callable[..., None]] = {
    c.Grey: _paint_grey,
    c.Checker: _paint_checker,
    c.Fusion: _paint_fusion,
    c.ColourMap: _paint_map,
    c.Marks: _paint_marks,
    c.Contours: _paint_contours,
    c.Edges: _paint_edges,
    c.Outline: _paint_outline,
    c.WarpedGrid: _paint_warped_grid,
    c.Frame: _paint_frame,
    c.Ring: _paint_ring,
}


def line_of(values: np.ndarray, width: float) -> np.ndarray:
    """Coverage [0, 1] of each pixel by the zero line of `values`, `width` pixels wide, antialiased."""
    if min(values.shape) < 2:
        return np.zeros_like(values)
    steepness = np.hypot(*np.gradient(values))
    distance = np.abs(values) / np.maximum(steepness, 1e-6)
    return np.where(steepness > 1e-6, np.clip(width / 2 + 0.5 - distance, 0, 1), 0)


def smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian of `sigma` pixels over a picture (height, width), borders repeated."""
    if sigma < 0.2:
        return values
    radius = max(1, int(np.ceil(3 * sigma)))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    for axis in (0, 1):
        pad = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        padded = np.pad(values, pad, mode="edge")
        length = values.shape[axis]
        values = sum(
            weight * (padded[i : i + length] if axis == 0 else padded[:, i : i + length])
            for i, weight in enumerate(kernel)
        )
    return values


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask and what is near it: keeps lines off the rim where an image ends."""
    return smooth(mask.astype(np.float32), pixels / 2) > 0.02
