"""The working grid: where both images are brought together, and where the displacement field lives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import SimpleITK as sitk

DEFAULT_SPACING_MM = 2.0
# Of small fields of view a network wants about as many voxels as in its training. A refinement gains from finer ones,
# even finer than those of the image, because it reads descriptors between them.
NETWORK_VOXELS_ALONG = 144  # the longest side
REFINED_VOXELS = 144 * 144 * 128
REFINED_FINEST = 0.8  # of the image's finest spacing
MAXIMUM_VOXELS = 8_000_000
_FEWEST_TO_SMOOTH = 4  # voxels along an axis that a recursive Gaussian needs
_WIDE = 2.5  # voxels; of a wider Gaussian a recursive one is the faster


@dataclass(frozen=True)
class Grid:
    """An oriented lattice of points in LPS millimetres, in SimpleITK's (i, j, k) order."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """The grid of the voxel centres of an image."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @property
    def shape(self) -> tuple[int, int, int]:
        """The array shape (D, H, W)."""
        return self.size[::-1]

    @property
    def axes(self) -> np.ndarray:
        """The 3x3 direction matrix; its columns are the LPS directions of the i, j and k axes."""
        return np.array(self.direction).reshape(3, 3)

    @property
    def center(self) -> np.ndarray:
        """The LPS point in the middle of the grid."""
        return self.point((np.array(self.size) - 1) / 2)

    @property
    def corners(self) -> np.ndarray:
        """The LPS points (8, 3) at the outer corners of the outermost voxels."""
        return np.array([self.point(np.array(c)) for c in itertools.product(*([-0.5, n - 0.5] for n in self.size))])

    def point(self, index: np.ndarray) -> np.ndarray:
        """Return the LPS point of a continuous index (i, j, k)."""
        return np.array(self.origin) + self.axes @ (np.asarray(index) * self.spacing)

    def resample(
        self,
        image: sitk.Image,
        transform: sitk.Transform | None = None,
        interpolator: int = sitk.sitkLinear,
        default: float = 0.0,
    ) -> sitk.Image:
        """Resample ``image`` onto this grid through a grid-to-image point transform (LPS mm)."""
        return sitk.Resample(
            image, self.size, transform or sitk.Transform(3, sitk.sitkIdentity), interpolator,
            self.origin, self.spacing, self.direction, default, image.GetPixelID(),
        )  # fmt: skip

    def image(self, array: np.ndarray) -> sitk.Image:
        """Return an image with this geometry from an array (D, H, W) or, for vectors, (D, H, W, C)."""
        image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image

    def padded(self, *margins: int) -> Grid:
        """Return the grid with so many more points at either end of all axes, or of the axes i, j and k."""
        by_axis = np.broadcast_to(margins, 3)
        i, j, k = (np.array(self.size) + 2 * by_axis).tolist()
        return replace(self, size=(i, j, k), origin=tuple(self.point(-by_axis)))

    def halfway(self) -> Grid:
        """Return the points in the middle between this grid's points: one less along each axis of more than one."""
        i, j, k = (max(n - 1, 1) for n in self.size)
        middle = [0.5 if n > 1 else 0.0 for n in self.size]
        return replace(self, size=(i, j, k), origin=tuple(self.point(np.array(middle)).tolist()))

    def covering(self, other: Grid, maximum_voxels: int) -> tuple[Grid, tuple[np.ndarray, np.ndarray]]:
        """Return the grid extended over the voxels of another one, and by how many points before and after (i, j, k).

        Only so far as ``maximum_voxels`` allow.
        """
        indices = (other.corners - self.origin) @ self.axes / self.spacing
        before = np.maximum(np.ceil(-0.5 - indices.min(0) - 1e-6), 0).astype(int)
        after = np.maximum(np.ceil(indices.max(0) + 0.5 - np.array(self.size) - 1e-6), 0).astype(int)
        while np.prod(np.array(self.size) + before + after) > max(maximum_voxels, np.prod(self.size)):
            before, after = before * 9 // 10, after * 9 // 10
        i, j, k = (int(n) for n in np.array(self.size) + before + after)
        return replace(self, size=(i, j, k), origin=tuple(self.point(-before).tolist())), (before, after)

    def corners_through(self, transform: sitk.Transform) -> np.ndarray:
        """Return where a point transform (LPS mm) takes the `corners`, (8, 3)."""
        return np.array([transform.TransformPoint(corner) for corner in self.corners.tolist()])

    def moved(self, transform: sitk.Transform) -> Grid:
        """Return the grid with the same axes and spacing around where a point transform (LPS mm) takes this one."""
        points = self.corners_through(transform) @ self.axes
        low, high = points.min(0), points.max(0)
        return _Box(self.axes @ (low + high) / 2, self.axes, high - low).grid(self.spacing[0])

    def shrunk(self, shape: tuple[int, ...]) -> Grid:
        """Return the grid of ``shape`` whose points are the centres of cubes of this grid's points.

        The last cubes of an axis may reach past its end. A cube is no longer along an axis than the result has points.
        """
        k, j, i = shape
        factor = -(-self.shape[0] // k)
        spacing = (self.spacing[0] * factor, self.spacing[1] * factor, self.spacing[2] * factor)
        origin = tuple(self.point(np.full(3, (factor - 1) / 2)))
        return replace(self, size=(i, j, k), spacing=spacing, origin=origin)

    def every(self, stride: int, first: int) -> Grid:
        """Return the grid of every ``stride``-th point along each axis, from the point ``first`` on."""
        i, j, k = (-(-(n - first) // stride) for n in self.size)
        spacing = (self.spacing[0] * stride, self.spacing[1] * stride, self.spacing[2] * stride)
        return replace(self, size=(i, j, k), spacing=spacing, origin=tuple(self.point(np.full(3, first))))

    def vectors_to_lps(self, displacement: np.ndarray) -> np.ndarray:
        """Turn displacements (3, D, H, W) in voxels, array order, into vectors (D, H, W, 3) in LPS mm."""
        matrix = self.axes * np.array(self.spacing)  # column a: the LPS step of one voxel along axis a of (i, j, k)
        return np.einsum("la,a...->...l", matrix[:, ::-1], displacement)

    def vectors_from_lps(self, vectors: np.ndarray) -> np.ndarray:
        """Turn vectors (D, H, W, 3) in LPS mm into displacements (3, D, H, W) in voxels, array order."""
        matrix = np.linalg.inv(self.axes * np.array(self.spacing))[::-1]
        return np.einsum("al,...l->a...", matrix, vectors)


def working_grid(
    fixed: Grid,
    spacing: float | None = None,
    maximum_voxels: int = MAXIMUM_VOXELS,
    valid: sitk.Image | None = None,
    refined: bool = True,
) -> Grid:
    """Return an isotropic grid that covers what was measured on ``fixed``, an image's grid, to the voxels' outer faces.

    ``spacing`` is in mm. By default it is about 2 mm: finer for small fields of view, but not much finer than the fixed
    image's own finest spacing, and coarser where the grid would exceed ``maximum_voxels`` (the memory budget).

    Args:
        valid: mask (uint8) of the measured voxels of ``fixed``, see `enclosing_grid`; all of them if None.
        refined: whether the displacement is refined on this grid, or a network's taken as it is.
    """
    whole = _Box.of(fixed) if valid is None else _Box.around(valid)
    if spacing is None:
        finest = min(fixed.spacing)
        if refined:
            spacing = max(min(DEFAULT_SPACING_MM, whole.spacing(REFINED_VOXELS)), REFINED_FINEST * finest)
        else:
            spacing = max(min(DEFAULT_SPACING_MM, whole.extent.max() / NETWORK_VOXELS_ALONG), finest)
        spacing = max(spacing, whole.spacing(maximum_voxels))
    return whole.grid(spacing)


def covering_grid(image: sitk.Image, spacing: float) -> Grid:
    """Return the isotropic grid of ``spacing`` mm that covers the field of view of ``image`` and shares its centre."""
    return _Box.of(Grid.of(image)).grid(spacing)


def enclosing_grid(valid: sitk.Image, spacing: float) -> Grid:
    """Return the isotropic grid of ``spacing`` mm around what was measured, to the outer faces of its voxels.

    It lies along the axes of the image or along those of the patient (L, P, S), whichever encloses ``valid`` more
    tightly: a volume that was resampled to a turned grid is looked at as before it was.

    Args:
        valid: mask (uint8), non-zero where the image was measured.
    """
    return _Box.around(valid).grid(spacing)


@dataclass(frozen=True)
class _Box:
    """A box in space: its centre (LPS mm), the directions of its edges (columns) and their lengths (mm)."""

    center: np.ndarray
    axes: np.ndarray
    extent: np.ndarray

    @classmethod
    def of(cls, grid: Grid) -> _Box:
        """The field of view of an image with that grid."""
        return cls(grid.center, grid.axes, np.array(grid.size) * np.array(grid.spacing))

    @classmethod
    def around(cls, valid: sitk.Image) -> _Box:
        """The tightest box around the voxels of a mask, along its own axes or those of the patient."""
        own = Grid.of(valid)
        inside = sitk.GetArrayViewFromImage(valid) > 0
        if inside.all() or not inside.any():
            return cls.of(own)
        points = _outermost(inside) * own.spacing @ own.axes.T + own.origin
        boxes = []
        for axes in (own.axes, np.eye(3)):
            half_voxel = np.abs(axes.T @ own.axes) @ np.array(own.spacing) / 2
            low, high = (points @ axes).min(0) - half_voxel, (points @ axes).max(0) + half_voxel
            boxes.append(cls(axes @ (low + high) / 2, axes, high - low))
        return min(boxes, key=lambda box: float(box.extent.prod()))

    def spacing(self, voxels: int) -> float:
        """The spacing (mm) at which the box has so many voxels."""
        return float((self.extent.prod() / voxels) ** (1 / 3))

    def grid(self, spacing: float) -> Grid:
        """The isotropic grid of ``spacing`` mm that covers the box and shares its centre."""
        size = np.maximum(np.ceil(self.extent / spacing - 1e-6).astype(int), 2)
        origin = self.center - self.axes @ ((size - 1) / 2 * spacing)
        i, j, k = (int(n) for n in size)
        return Grid((i, j, k), (float(spacing),) * 3, tuple(origin.tolist()), tuple(self.axes.ravel().tolist()))


def _outermost(inside: np.ndarray) -> np.ndarray:
    """Return the indices (N, 3), i, j, k, of the first and the last voxel of a mask in each of its rows."""
    k, j = np.nonzero(inside.any(axis=2))
    rows = inside[k, j]
    ends = rows.argmax(axis=1), inside.shape[2] - 1 - rows[:, ::-1].argmax(axis=1)
    return np.concatenate([np.stack([i, j, k], axis=1) for i in ends])


def in_patient_order(image: sitk.Image) -> sitk.Image:
    """Return the same image with its axes turned round and swapped so that i, j and k go most nearly to L, P and S.

    How a file happens to store its voxels has no say in a registration then, and networks see bodies upright.
    """
    return sitk.DICOMOrient(image, "LPS")


def antialiased(image: sitk.Image, spacing: float) -> sitk.Image:
    """Smooth ``image`` along the axes that are finer than ``spacing`` mm, so that it can be sampled at ``spacing``."""
    own = np.array(image.GetSpacing())
    sigmas = 0.5 * np.sqrt(np.maximum(spacing**2 - own**2, 0.0))
    return smoothed(image, np.where(sigmas > 0.4 * own, sigmas, 0.0).tolist())


def smoothed(image: sitk.Image, sigmas: Sequence[float]) -> sitk.Image:
    """Return an image, of scalars or vectors, through a Gaussian with a standard deviation in mm along each axis.

    The border value goes on outside. An axis with a deviation of 0, or with fewer voxels than the recursive filter can
    do, is left as it is.
    """
    for axis, sigma in enumerate(sigmas):
        if sigma > 0 and image.GetSize()[axis] >= _FEWEST_TO_SMOOTH:
            voxels = sigma / image.GetSpacing()[axis]
            if voxels > _WIDE:
                image = sitk.RecursiveGaussian(image, sigma=sigma, direction=axis)
            else:
                array = _convolved(sitk.GetArrayViewFromImage(image), 2 - axis, voxels)
                image = Grid.of(image).image(array)
    return image


def _convolved(values: np.ndarray, axis: int, sigma: float) -> np.ndarray:
    """Return an array through a Gaussian of ``sigma`` voxels, cut at four of them, along one axis; its edge goes on.

    It takes a third of the time of a recursive Gaussian, which does not get a narrow one right either.
    """
    import torch

    values = values.astype(np.result_type(values, np.float32), copy=False)
    reach, size = ceil(4 * sigma), values.shape[axis]
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    margins = [(reach, reach) if other == axis else (0, 0) for other in range(values.ndim)]
    padded = torch.from_numpy(np.pad(values, margins, mode="edge"))
    result = torch.zeros(values.shape, dtype=padded.dtype)
    for start, weight in enumerate(weights.tolist()):
        result.add_(padded.narrow(axis, start, size), alpha=weight)
    return result.numpy()
