"""Rigid and affine alignment by mutual information (Mattes et al. 2003) with SimpleITK, from several starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .fields import affine_parts
from .grid import Grid, antialiased, covering_grid
from .intensity import Normalized

_BINS = 32
_COARSE_MM = 8.0
_FINEST_MM = 2.0
_STARTS_REFINED = 4
_MAXIMUM_GAP_MM = (300.0, 300.0, 2000.0)  # only the patient table, along the body, moves a field of view by metres


@dataclass(frozen=True)
class Level:
    """Both images at one resolution, with the masks of their measured fields of view."""

    fixed: sitk.Image
    moving: sitk.Image
    fixed_mask: sitk.Image
    moving_mask: sitk.Image

    @classmethod
    def at(cls, fixed: Normalized, moving: Normalized, spacing: float) -> Level:
        images = []
        for normalized in (fixed, moving):
            grid = covering_grid(normalized.image, spacing)
            images.append(grid.resample(antialiased(normalized.image, spacing)))
            images.append(grid.resample(normalized.valid, interpolator=sitk.sitkNearestNeighbor))
        return cls(images[0], images[2], images[1], images[3])

    def mutual_information(self, transform: sitk.Transform) -> float:
        """Return the mutual information in nats over the whole fixed field of view.

        What lies outside the moving image counts as background, so that an alignment gains nothing by leaving it.
        """
        grid = Grid.of(self.fixed)
        fixed = sitk.GetArrayViewFromImage(self.fixed)[sitk.GetArrayViewFromImage(self.fixed_mask) > 0]
        warped = sitk.GetArrayViewFromImage(grid.resample(self.moving, transform))[
            sitk.GetArrayViewFromImage(self.fixed_mask) > 0
        ]
        joint, _, _ = np.histogram2d(fixed, warped, bins=_BINS, range=((0, 1), (0, 1)))
        joint /= max(joint.sum(), 1)
        expected = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        filled = joint > 0
        return float((joint[filled] * np.log(joint[filled] / expected[filled])).sum())


def align(
    fixed: Normalized,
    moving: Normalized,
    initialization: str,
    initial: sitk.Transform | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> sitk.Transform:
    """Return the linear fixed-to-moving point transform (LPS mm): identity, `initial`, rigid or affine on top of it.

    Rigid alignment starts from the scanner coordinates (or ``initial``), the centres of both fields of view, the
    centres of mass, tilted by up to 20 degrees, and, where one field of view is much the longer, along its length;
    the best starts at 8 mm are followed down to 2 mm and the one with the highest mutual information is kept.
    Deterministic for one seed.

    Raises:
        InputError: when the images do not overlap and may not be moved, or lie implausibly far apart.
    """
    start = initial or _identity(fixed.image)
    _check_overlap(fixed.image, moving.image, start, initialization)
    if initialization == "none":
        return start
    coarse = Level.at(fixed, moving, _coarse_spacing(fixed.image))
    if initial is None:
        rigid = _best_rigid(coarse, seed, progress)
    else:
        rigid = _optimize(coarse, _as_affine(initial, coarse), seed)
    for number, spacing in enumerate(_finer_spacings(fixed.image)):
        level = Level.at(fixed, moving, spacing)
        progress(0.5 + 0.2 * number)
        rigid = _best(level, (_optimize(level, rigid, seed), rigid))
    if initial is None:  # a small motion can be lost at 8 mm: what the scanner says has a say at the finest level, too
        rigid = _best(level, (rigid, _optimize(level, start, seed), start))
    if initialization == "rigid":
        return rigid
    affine = _optimize(level, _as_affine(rigid, level), seed)
    return _best(level, (rigid, affine)) if _plausible(affine) else rigid


def _best_rigid(level: Level, seed: int, progress: Callable[[float], None]) -> sitk.Transform:
    scored = sorted(
        ((level.mutual_information(start), number, start) for number, start in enumerate(_starts(level))), reverse=True
    )
    refined = []
    for number, (_, _, start) in enumerate(_distinct(scored)):
        result = _optimize(level, start, seed)
        refined.append((level.mutual_information(result), -number, result))
        progress(0.4 * (number + 1) / _STARTS_REFINED)
    return max(refined)[2]


def _distinct(scored: list) -> list:
    """Keep the best starts that are 20 mm or 10 degrees apart; the scanner coordinates stay in."""
    kept = [next(entry for entry in scored if entry[1] == 0)]
    for entry in scored:
        parameters = np.array(entry[2].GetParameters())
        differences = [np.abs(parameters - np.array(other[2].GetParameters())) for other in kept]
        if all(d[:3].max() > np.radians(10) or d[3:].max() > 20 for d in differences):
            kept.append(entry)
        if len(kept) == _STARTS_REFINED:
            break
    return kept


def _starts(level: Level) -> Iterator[sitk.Euler3DTransform]:
    """Yield rigid starts about the fixed centre; the first are the scanner coordinates as they are."""
    fixed, moving = Grid.of(level.fixed), Grid.of(level.moving)
    translations = [np.zeros(3), moving.center - fixed.center, _mass_center(level.moving) - _mass_center(level.fixed)]
    extents = [np.array(grid.size) * grid.spacing for grid in (fixed, moving)]
    for axis in range(3):
        reach = (extents[1][axis] - _extent_along(fixed, moving.axes[:, axis])) / 2
        for offset in np.arange(40.0, reach + 20, 40.0) if reach > 20 else ():
            for sign in (-1, 1):
                for base in translations[1:3]:
                    translations.append(base + sign * offset * moving.axes[:, axis])
    angles = [np.zeros(3)] + [sign * np.radians(15) * np.eye(3)[axis] for axis in range(3) for sign in (-1, 1)]
    for translation in translations:
        for rotation in angles:
            start = _identity(level.fixed)
            start.SetRotation(*rotation)
            start.SetTranslation(translation)
            yield start


def _extent_along(grid: Grid, direction: np.ndarray) -> float:
    return float(np.abs(grid.axes.T @ direction) @ (np.array(grid.size) * grid.spacing))


def _mass_center(image: sitk.Image) -> np.ndarray:
    values = sitk.GetArrayViewFromImage(image)
    total = max(float(values.sum()), 1e-9)
    index = [float((values.sum(axis=tuple({0, 1, 2} - {axis})) * np.arange(n)).sum() / total)
             for axis, n in enumerate(values.shape)]  # fmt: skip
    return Grid.of(image).point(np.array(index[::-1]))


def _optimize(level: Level, start: sitk.Transform, seed: int) -> sitk.Transform:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    voxels = int(np.prod(level.fixed.GetSize()))
    if voxels > 60_000:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(60_000 / voxels, seed + 1)
    if sitk.GetArrayViewFromImage(level.fixed_mask).min() == 0:
        method.SetMetricFixedMask(level.fixed_mask)
    if sitk.GetArrayViewFromImage(level.moving_mask).min() == 0:
        method.SetMetricMovingMask(level.moving_mask)
    method.SetInterpolator(sitk.sitkLinear)
    spacing = level.fixed.GetSpacing()[0]
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=spacing, minStep=0.01 * spacing, numberOfIterations=100, relaxationFactor=0.6,
        gradientMagnitudeTolerance=1e-8,
    )  # fmt: skip
    method.SetOptimizerScalesFromPhysicalShift()
    transform = start.__class__(start)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(level.fixed, level.moving)
    except RuntimeError:  # too few samples inside the moving image: this start leads nowhere
        return start
    return transform


def _best(level: Level, transforms: tuple[sitk.Transform, ...]) -> sitk.Transform:
    """Return the transform with the highest mutual information, the first of equals."""
    return max(transforms, key=level.mutual_information)


def _identity(image: sitk.Image) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(Grid.of(image).center)
    return transform


def _as_affine(transform: sitk.Transform, level: Level) -> sitk.AffineTransform:
    """Return the affine transform that equals a linear ``transform``, centred in the fixed field of view.

    Raises:
        InputError: when ``transform`` bends: a displacement field cannot be refined linearly.
    """
    center = Grid.of(level.fixed).center
    matrix, offset = affine_parts(transform, center)
    if matrix is None:
        raise InputError("The initial transform is not linear; give initialization 'none' to start from it as it is.")
    affine = sitk.AffineTransform(3)
    affine.SetCenter(center)
    affine.SetMatrix(matrix.ravel())
    affine.SetTranslation(matrix @ center + offset - center)
    return affine


def _plausible(affine: sitk.AffineTransform) -> bool:
    """Say whether an affine result scales and shears a body by no more than a quarter."""
    scales = np.linalg.svd(np.array(affine.GetMatrix()).reshape(3, 3), compute_uv=False)
    return bool(scales.max() < 1.25 and scales.min() > 0.8)


def _coarse_spacing(image: sitk.Image) -> float:
    extent = min(n * s for n, s in zip(image.GetSize(), image.GetSpacing()))
    return float(min(_COARSE_MM, extent / 10))


def _finer_spacings(image: sitk.Image) -> tuple[float, float]:
    coarse = _coarse_spacing(image)
    return coarse / 2, max(coarse / 4, min(_FINEST_MM, coarse / 2) * 0.999)


def _check_overlap(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform, initialization: str) -> None:
    low, high = _bounds(moving)
    corners = np.array([start.TransformPoint(tuple(corner)) for corner in _corners(fixed)])
    gap = np.maximum(np.maximum(low - corners.max(0), corners.min(0) - high), 0)
    if gap.max() == 0:
        return
    apart = f"The fixed and the moving image do not overlap in space: {np.linalg.norm(gap):.0f} mm lie between them"
    if initialization == "none":
        raise InputError(f"{apart}; choose rigid initialization or give an initial transform.")
    if np.any(gap > _MAXIMUM_GAP_MM):
        raise InputError(f"{apart}, too far for one patient; check their origins or give an initial transform.")


def _bounds(image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    corners = _corners(image)
    return corners.min(0), corners.max(0)


def _corners(image: sitk.Image) -> np.ndarray:
    last = np.array(image.GetSize()) - 0.5
    indices = [(i, j, k) for i in (-0.5, last[0]) for j in (-0.5, last[1]) for k in (-0.5, last[2])]
    return np.array([image.TransformContinuousIndexToPhysicalPoint(tuple(map(float, index))) for index in indices])
