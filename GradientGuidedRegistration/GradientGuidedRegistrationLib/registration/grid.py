"""The working grid: where both images are brought together, and where the displacement field lives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

DEFAULT_SPACING_MM = 2.0
VOXELS_ALONG = 144  # the longest side of a small field of view
MAXIMUM_VOXELS = 8_000_000


@dataclass(frozen=True)
class Grid:
    """An oriented lattice of points in LPS millimetres, in SimpleITK's (i, j, k) order."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
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

    def padded(self, margin: int) -> Grid:
        """Return the grid with ``margin`` more points on every side."""
        i, j, k = (n + 2 * margin for n in self.size)
        return replace(self, size=(i, j, k), origin=tuple(self.point(np.full(3, -margin))))

    def shrunk(self, factor: int, shape: tuple[int, ...]) -> Grid:
        """Return the grid of ``shape`` whose points are the centres of cubes of ``factor`` points along each axis."""
        k, j, i = shape
        spacing = (self.spacing[0] * factor, self.spacing[1] * factor, self.spacing[2] * factor)
        origin = tuple(self.point(np.full(3, (factor - 1) / 2)))
        return replace(self, size=(i, j, k), spacing=spacing, origin=origin)

    def vectors_to_lps(self, displacement: np.ndarray) -> np.ndarray:
        """Turn displacements (3, D, H, W) in voxels, array order, into vectors (D, H, W, 3) in LPS mm."""
        matrix = self.axes * np.array(self.spacing)  # column a: the LPS step of one voxel along axis a of (i, j, k)
        return np.einsum("la,a...->...l", matrix[:, ::-1], displacement)

    def vectors_from_lps(self, vectors: np.ndarray) -> np.ndarray:
        """Turn vectors (D, H, W, 3) in LPS mm into displacements (3, D, H, W) in voxels, array order."""
        matrix = np.linalg.inv(self.axes * np.array(self.spacing))[::-1]
        return np.einsum("al,...l->a...", matrix, vectors)


def working_grid(fixed: sitk.Image, spacing: float | None = None, maximum_voxels: int = MAXIMUM_VOXELS) -> Grid:
    """Return an isotropic grid along the axes of ``fixed`` that covers its field of view to the voxels' outer faces.

    ``spacing`` is in mm. By default it is about 2 mm: finer for small fields of view, never finer than the fixed
    image's own finest spacing, and coarser where the grid would exceed ``maximum_voxels`` (the memory budget).
    """
    extent = np.array(fixed.GetSize()) * np.array(fixed.GetSpacing())
    if spacing is None:
        spacing = max(min(DEFAULT_SPACING_MM, extent.max() / VOXELS_ALONG), min(fixed.GetSpacing()))
        spacing = max(spacing, float((extent.prod() / maximum_voxels) ** (1 / 3)))
    return covering_grid(fixed, spacing)


def covering_grid(image: sitk.Image, spacing: float) -> Grid:
    """Return the isotropic grid of ``spacing`` mm that covers the field of view of ``image`` and shares its centre."""
    extent = np.array(image.GetSize()) * np.array(image.GetSpacing())
    size = np.maximum(np.ceil(extent / spacing - 1e-6).astype(int), 2)
    origin = Grid.of(image).center - Grid.of(image).axes @ ((size - 1) / 2 * spacing)
    i, j, k = (int(n) for n in size)
    return Grid((i, j, k), (float(spacing),) * 3, tuple(origin), image.GetDirection())


def antialiased(image: sitk.Image, spacing: float) -> sitk.Image:
    """Smooth ``image`` along the axes that are finer than ``spacing`` mm, so that it can be sampled at ``spacing``."""
    for axis, own in enumerate(image.GetSpacing()):
        sigma = 0.5 * np.sqrt(max(spacing**2 - own**2, 0.0))
        if sigma > 0.4 * own and image.GetSize()[axis] >= 4:
            image = sitk.RecursiveGaussian(image, sigma=float(sigma), direction=axis)
    return image
