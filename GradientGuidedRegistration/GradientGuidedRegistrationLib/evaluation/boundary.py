"""Where two segmentations disagree most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from .nearest import NearestCells
from .overlap import Box, Region, label_regions

SMALLEST_PART = 0.1  # of the structure's largest part, by volume
BLOCK_MM = 2.0
SAME = 0.03  # share by which two distances may differ and still be called the same
SMALLEST_STRETCH_MM2, SMALLEST_STRETCH_SHARE, STRETCH_RADIUS_MM = 50.0, 0.05, 5.0


class WorstBoundary(NamedTuple):
    """The place on a label's border that is farthest from the same label's border in the other image."""

    label: int
    point: tuple[float, float, float]  # LPS mm
    distance_mm: float


class SeenRegion:
    """What both images show: the box of one image, as far as the other reaches.

    Args:
        reference: the image whose grid the labels have; its box is what the fixed image shows.
        seen: mask on any grid, non-zero where the moving image reaches as well; everywhere if None.
    """

    def __init__(self, reference: sitk.Image, seen: sitk.Image | None = None) -> None:
        self._reference = reference
        self._inner = None
        if seen is not None and not sitk.GetArrayViewFromImage(seen).all():
            self._inner = sitk.BinaryErode(seen != 0, [1, 1, 1], sitk.sitkBox, 0, 1, False)

    def point(self, index: np.ndarray) -> tuple[float, float, float]:
        """LPS point (mm) of a continuous index (z, y, x) of the reference."""
        return self._reference.TransformContinuousIndexToPhysicalPoint(index[::-1].tolist())

    def ends_at(self, indices: np.ndarray) -> np.ndarray:
        """Which continuous indices (N, 3) (z, y, x) of the reference lie within a voxel of the end or beyond it."""
        last = np.array(self._reference.GetSize()[::-1]) - 1.5
        beyond: np.ndarray = np.any((indices < 0.5) | (indices > last), axis=1)
        if self._inner is not None:
            axes = [np.array(image.GetDirection()).reshape(3, 3) for image in (self._reference, self._inner)]
            points = indices[:, ::-1] * self._reference.GetSpacing() @ axes[0].T + self._reference.GetOrigin()
            places = np.rint((points - self._inner.GetOrigin()) @ axes[1] / self._inner.GetSpacing()).astype(int)
            mask = sitk.GetArrayViewFromImage(self._inner)
            inside = ((places >= 0) & (places < self._inner.GetSize())).all(axis=1)
            beyond |= ~inside
            beyond[inside] |= mask[tuple(places[inside, ::-1].T)] == 0
        return beyond


def worst_boundary(
    fixed_labels: sitk.Image, other_labels: sitk.Image, seen: sitk.Image | None = None
) -> WorstBoundary | None:
    """Find the place where the borders of the same label in two images are farthest apart.

    The border of either image is measured against that of the other, so that a bulge counts in whichever image it is.
    Of the border, what a reader would not call a misplaced boundary does not count:

    - the ends of the field of view: where a structure is cut by the end of what both images show (in either image), a
      place counts only if the other border is nearer than that cut. Otherwise its counterpart may lie beyond the end,
      and the distance to what is left says nothing; slivers at the end do not count at all;
    - fragments: a part that lies 2 mm or more off the rest and holds less than a tenth of the volume of the label's
      largest part in the same image;
    - spikes: within 5 mm of the place (1.5 voxels where they are thicker), 50 mm^2 of the same border (of a small
      label, 5 % of all of it) must be at least half as far off.

    Of places that are as far within 3 %, it is the one with most of the misplaced border around it.

    Args:
        fixed_labels, other_labels: integer label images on one grid.
        seen: mask on any grid, non-zero where the moving image reaches; None if it reaches everywhere.

    Returns:
        None if no label has a border in both images that counts.
    """
    region, worst = SeenRegion(fixed_labels, seen), None
    for label, box, (fixed, other) in label_regions([fixed_labels, other_labels]):
        worst = worse_of(worst, worst_place(label, box, fixed, other, region, worst))
    return worst


def worst_place(
    label: int, box: Box, fixed: Region, other: Region, region: SeenRegion, known: WorstBoundary | None = None
) -> WorstBoundary | None:
    """The worst place of one label, as for `worst_boundary`; `box` is that of the two in the grid of `region`.

    None as well where the label is no worse than what is `known`; this is found without looking for fragments.
    """
    if not (fixed.voxels and other.voxels):
        return None
    least = -1.0 if known is None else known.distance_mm
    places = (
        _worst_of_surface(label, box, mine, theirs, region, least) for mine, theirs in ((fixed, other), (other, fixed))
    )
    return worse_of(*places)


def _worst_of_surface(
    label: int, box: Box, mine: Region, theirs: Region, region: SeenRegion, least: float
) -> WorstBoundary | None:
    """The worst place on the border of `mine`, if it is farther than `least` mm from that of `theirs`."""
    surface, start, blocks = mine.surface, [part.start for part in box], _Blocks(mine.mask.shape, mine.spacing)
    far = surface.distances_to(theirs.surface)
    if far.max(initial=-1.0) <= least:
        return None
    places = np.flatnonzero(far > least / 2)  # half as far still counts as border around a place
    far, areas, indices = far[places], surface.areas[places], surface.indices(surface.measured[places])
    measured = [surface.indices(one.measured) for one in (surface, theirs.surface)]
    cut = np.concatenate([elements[region.ends_at(elements + start)] for elements in measured])
    needed = min(SMALLEST_STRETCH_MM2, SMALLEST_STRETCH_SHARE * float(surface.areas.sum()))
    radius = max(STRETCH_RADIUS_MM, 1.5 * max(mine.spacing))
    counts = far < blocks.clearance(indices, cut, float(far.max()))
    for check in (None, blocks.in_large_part):  # parts take longest to find: only where there is a place without them
        if check is not None:
            counts = check(indices, mine.mask)
        far, areas, indices = far[counts], areas[counts], indices[counts]
        chosen = _farthest_stretch(far, indices * mine.spacing[::-1], areas, needed, radius, least)
        if chosen is None:
            return None
    return WorstBoundary(label, region.point(indices[chosen] + start), float(far[chosen]))


def _farthest_stretch(
    distances: np.ndarray, places: np.ndarray, areas: np.ndarray, needed: float, radius: float, least: float
) -> int | None:
    """The farthest of some places (N, 3) (mm) with `needed` mm^2 at least half as far off within `radius` mm.

    None if it is not farther than `least` mm.

    Of those that are as far but for `SAME`, the one with the most such border around: the middle of a face, no corner.
    """
    order = np.argsort(-distances, kind="stable")
    distances, places, areas = distances[order], places[order], areas[order]

    def stretch(rank: int) -> float:
        stop = np.searchsorted(-distances, -0.5 * distances[rank], side="right")
        near = ((places[:stop] - places[rank]) ** 2).sum(axis=1) <= radius**2
        return float(areas[:stop][near].sum())

    first = next((rank for rank in range(int((distances > least).sum())) if stretch(rank) >= needed), None)
    if first is None:
        return None
    alike = np.arange(first, np.searchsorted(-distances, -(1 - SAME) * distances[first], side="right"))
    alike = alike[:: -(-len(alike) // 200)]
    return int(order[max(alike.tolist(), key=stretch)])


def _sums(values: np.ndarray, axis: int, factor: int) -> np.ndarray:
    """Sums of `factor` neighbours along an axis; the last ones may be fewer."""
    values = np.moveaxis(values, axis, 0)
    sums = values[::factor].copy()
    for start in range(1, factor):
        part = values[start::factor]
        sums[: len(part)] += part
    return np.moveaxis(sums, 0, axis)


class _Blocks:
    """A mask's box (D, H, W) in blocks of up to `BLOCK_MM`: fine enough to tell parts and cuts, and soon done."""

    def __init__(self, shape: tuple[int, ...], spacing: Sequence[float]) -> None:
        self._factors = [max(1, min(int(BLOCK_MM / own), size)) for own, size in zip(spacing[::-1], shape, strict=True)]
        self._shape = tuple(-(-size // factor) for size, factor in zip(shape, self._factors, strict=True))
        self._spacing = np.multiply(spacing, self._factors[::-1])

    def clearance(self, indices: np.ndarray, others: np.ndarray, within: float) -> np.ndarray:
        """Distance (mm), to about a block, of indices (N, 3) (z, y, x) to the nearest of others; beyond it infinite."""
        if not len(others):
            return np.full(len(indices), np.inf)
        queries, targets = (np.ravel_multi_index(self._block_of(found), self._shape) for found in (indices, others))
        nearest = NearestCells(self._shape, np.unique(targets), self._spacing.tolist())
        unique, inverse = np.unique(queries, return_inverse=True)
        return np.sqrt(nearest.squared_distances(unique, farthest_mm=within))[inverse]

    def in_large_part(self, indices: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Which surface indices (N, 3) (z, y, x) border on a part of the mask that is no fragment."""
        voxels = mask.astype(np.uint16) if np.prod(self._factors) < 2**16 else mask.astype(np.uint32)
        for axis, factor in enumerate(self._factors):
            voxels = _sums(voxels, axis, factor)
        filled = sitk.GetImageFromArray((voxels > 0).astype(np.uint8))
        parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(filled, True))
        sizes = np.bincount(parts.ravel(), voxels.ravel())
        large = (sizes >= SMALLEST_PART * sizes.max())[parts]
        corners = (np.add(corner, -0.5) for corner in np.ndindex(2, 2, 2))
        return np.logical_or.reduce([large[self._block_of(indices + corner)] for corner in corners])

    def _block_of(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        places = np.floor((indices + 0.5) / self._factors).astype(int)
        return tuple(np.clip(places, 0, np.array(self._shape) - 1).T)


def worse_of(*places: WorstBoundary | None) -> WorstBoundary | None:
    """The one with the largest distance; of equal ones the first."""
    return max((place for place in places if place is not None), key=lambda place: place.distance_mm, default=None)
