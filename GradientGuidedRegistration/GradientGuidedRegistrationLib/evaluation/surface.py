"""Surfaces of binary masks as small surface elements with an area, and the distances between two of them.

A surface element sits at each corner shared by 2 x 2 x 2 voxels that are not all equal. Its area is that of the
polygons that part the inside corners from the outside ones at the middles of the cell's edges, in millimetres.
The same idea as Google DeepMind's `surface-distance` (Nikolov et al., JMIR 2021), with the areas computed from the
spacing instead of taken from a marching-cubes table.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

# Corner i of a cell lies at (i & 1, i >> 1 & 1, i >> 2 & 1) along (x, y, z); this is its bit in the cell's code.
_CORNERS = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)])
# The four corners of each face of a cell, in order around the face.
_FACES = [
    [(side << fixed) | (p << (fixed + 1) % 3) | (q << (fixed + 2) % 3) for p, q in ((0, 0), (1, 0), (1, 1), (0, 1))]
    for fixed in range(3)
    for side in (0, 1)
]


class SurfaceDistances(NamedTuple):
    """Distances (mm) of the surface elements of two masks to the other's surface, with the elements' areas (mm^2)."""

    first_to_second: np.ndarray
    second_to_first: np.ndarray
    first_areas: np.ndarray
    second_areas: np.ndarray

    def average(self) -> float:
        """Symmetric average surface distance (mm): mean over both surfaces, each element weighted by its area."""
        areas = self.first_areas.sum() + self.second_areas.sum()
        weighted = (self.first_to_second * self.first_areas).sum() + (self.second_to_first * self.second_areas).sum()
        return float(weighted / areas)

    def hausdorff(self, percent: float = 95.0) -> float:
        """Robust Hausdorff distance (mm): the larger of the two directed, area-weighted percentiles."""
        return max(
            _weighted_percentile(self.first_to_second, self.first_areas, percent),
            _weighted_percentile(self.second_to_first, self.second_areas, percent),
        )


class Surface:
    """The surface elements of a mask: where they are, how large, and how far away.

    Args:
        mask: boolean array (D, H, W). What touches the array's edge is closed there.
        spacing: millimetres along (x, y, z), so along the array's last, middle and first axis.

    Attributes:
        elements: their cells, as flat indices into an array (D + 1, H + 1, W + 1).
        areas: of the elements, mm^2.
    """

    def __init__(self, mask: np.ndarray, spacing: Sequence[float]) -> None:
        self._shape = tuple(size + 1 for size in mask.shape)
        self._spacing = tuple(float(value) for value in spacing)
        codes = _cell_codes(mask).ravel()
        self.elements = np.flatnonzero(codes - np.uint8(1) < 254)  # neither 0 nor 255
        self.areas = element_areas(self._spacing)[codes[self.elements]]

    @cached_property
    def _squared_distance(self) -> sitk.Image:
        """Exact squared Euclidean distance (mm^2) of each cell to the nearest element."""
        cells = np.zeros(self._shape, np.uint8)
        cells.ravel()[self.elements] = 1
        image = sitk.GetImageFromArray(cells)
        image.SetSpacing(self._spacing)
        return sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=True, useImageSpacing=True)

    def distances_to(self, other: Surface) -> np.ndarray:
        """Distance (mm) of each of these elements to the nearest one of another surface in the same box."""
        squared = sitk.GetArrayViewFromImage(other._squared_distance).ravel()[self.elements]
        # Elements deep in a thick patch of the other surface come out negative: they are part of it.
        return np.sqrt(np.maximum(squared, 0.0))

    def index_of(self, element: int) -> tuple[float, float, float]:
        """Continuous voxel index (z, y, x) of an element in the mask."""
        z, y, x = (int(cell) for cell in np.unravel_index(self.elements[element], self._shape))
        return z - 0.5, y - 0.5, x - 0.5

    def between(self, box: Sequence[slice]) -> np.ndarray:
        """Which elements have voxels of a box (z, y, x slices, may reach past the mask) on both sides, boolean."""
        cells = np.unravel_index(self.elements, self._shape)
        return np.logical_and.reduce([(c >= part.start) & (c <= part.stop) for c, part in zip(cells, box, strict=True)])


def surface_distances(first: Surface, second: Surface) -> SurfaceDistances:
    """Distances between two surfaces in the same box, both with elements."""
    if not (first.elements.size and second.elements.size):
        raise ValueError("surface distances of an empty mask are not defined")
    return SurfaceDistances(first.distances_to(second), second.distances_to(first), first.areas, second.areas)


@lru_cache(maxsize=16)
def element_areas(spacing: tuple[float, float, float]) -> np.ndarray:
    """Area (mm^2) of the surface element of each of the 256 cell codes, array (256,)."""
    areas = np.zeros(256)
    for code in range(256):
        for loop in _loops(code):
            points = np.array([_CORNERS[list(edge)].mean(axis=0) for edge in loop]) * np.asarray(spacing)
            spokes = points - points.mean(axis=0)
            areas[code] += 0.5 * np.linalg.norm(np.cross(spokes, np.roll(spokes, -1, axis=0)), axis=1).sum()
    return areas


def _loops(code: int) -> list[list[tuple[int, int]]]:
    """The closed polygons of a cell: lists of crossed edges (pairs of corners), in order around each polygon.

    On a face with two diagonal inside corners the surface cuts off each inside corner by itself, so that the two
    cells that share the face agree.
    """
    neighbours: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for face in _FACES:
        pairs = [(face[i], face[(i + 1) % 4]) for i in range(4)]
        edges = [(min(pair), max(pair)) for pair in pairs]
        inside = [bool(code >> corner & 1) for corner in face]
        crossed = [edges[i] for i in range(4) if inside[i] != inside[(i + 1) % 4]]
        if len(crossed) == 4:
            segments = [(edges[i - 1], edges[i]) for i in range(4) if inside[i]]
        else:
            segments = [(crossed[0], crossed[1])] if crossed else []
        for start, end in segments:
            neighbours.setdefault(start, []).append(end)
            neighbours.setdefault(end, []).append(start)
    loops = []
    while neighbours:
        edge = next(iter(neighbours))
        loop = []
        while edge in neighbours:
            loop.append(edge)
            following = neighbours.pop(edge)
            edge = next((candidate for candidate in following if candidate in neighbours), edge)
        loops.append(loop)
    return loops


def _cell_codes(mask: np.ndarray) -> np.ndarray:
    """Codes (D+1, H+1, W+1) uint8 of the cells around each voxel corner; outside the array is background."""
    padded = np.pad(mask.astype(np.uint8), 1)
    depth, height, width = (size + 1 for size in mask.shape)
    codes = np.zeros((depth, height, width), np.uint8)
    for bit, (x, y, z) in enumerate(_CORNERS):
        codes |= padded[z : z + depth, y : y + height, x : x + width] << np.uint8(bit)
    return codes


def _weighted_percentile(values: np.ndarray, weights: np.ndarray, percent: float) -> float:
    target, below = weights.sum() * percent / 100.0, 0.0
    rank = int(0.8 * len(values))
    small = values < np.partition(values, rank)[rank]  # millions of values: sort only those that may be it
    if weights[small].sum() < target:
        below = weights[small].sum()
        values, weights = values[~small], weights[~small]
    order = np.argsort(values)
    index = np.searchsorted(below + np.cumsum(weights[order]), target)
    return float(values[order][min(index, len(values) - 1)])
