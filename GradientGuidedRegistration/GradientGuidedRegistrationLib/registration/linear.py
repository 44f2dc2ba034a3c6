"""Rigid and affine alignment by mutual information (Mattes et al. 2003) with SimpleITK, from several starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .grid import Grid, antialiased, enclosing_grid
from .intensity import Normalized

_BINS = 32
_SAMPLES = 30_000
_ENOUGH = 250_000  # voxels for a histogram
_MOST = 10_000_000  # voxels of an image at one level: a body at 2.5 mm
_COARSE_MM = 8.0
_LEAST_COARSE_MM = 3.0  # finer for a thin slab would be many voxels in the other image
_FINEST_MM = 2.0
_SMOOTHING = 0.7  # of noise, which between voxels is less: mutual information would shun alignments voxel on voxel
_COARSE_SMOOTHING = 1.5  # where the way is long
_RIM = 10
_SMALL_CHANGE = 1e-3  # of a parameter, in radians or mm
_STARTS_REFINED = 4
_NEAR_MM = 10.0  # at the corners: two descents from so near each other ended together in all of 14 cases
_LEAST_COUNTED = 0.2  # of what was measured of an image: in a tight mask nothing says where the rest of a body lies
_MAXIMUM_GAP_MM = (300.0, 300.0, 2000.0)  # only the patient table, along the body, moves a field of view by metres


@dataclass(frozen=True)
class Level:
    """Both images at one resolution, with the masks of what of them was measured and counts.

    Transforms take points of the fixed image; ``outer``, if any, takes them further to the moving image.
    ``moving_excluded`` is what of the moving image was measured and does not count; None for nothing.
    """

    fixed: sitk.Image
    moving: sitk.Image
    fixed_mask: sitk.Image
    moving_mask: sitk.Image
    outer: sitk.Transform | None = None
    moving_excluded: sitk.Image | None = None

    @classmethod
    def of(cls, fixed: Normalized, moving: Normalized, outer: sitk.Transform | None = None) -> Level:
        """Both images as they are."""
        return cls(fixed.windowed, moving.windowed, fixed.valid, moving.valid, outer, moving.excluded)

    def at(self, spacing: float, smoothing: float = _SMOOTHING) -> Level:
        """Both images on grids of `spacing` mm along their own axes, without detail below `smoothing` times that.

        An image that would be very large is put on a coarser grid.
        """
        nearest = sitk.sitkNearestNeighbor
        images, masks, excluded = [], [], self.moving_excluded
        for image, mask in ((self.fixed, self.fixed_mask), (self.moving, self.moving_mask)):
            grid = enclosing_grid(mask, spacing)
            excess = float(np.prod(grid.size, dtype=float)) / _MOST
            if excess > 1:
                grid = enclosing_grid(mask, spacing * excess ** (1 / 3))
            images.append(grid.resample(antialiased(image, smoothing * grid.spacing[0])))
            masks.append(grid.resample(mask, interpolator=nearest))
        if excluded is not None:
            excluded = grid.resample(excluded, interpolator=nearest)
        return Level(*images, *masks, self.outer, excluded)

    def thinned(self) -> Level:
        """Leave out fixed voxels of a large image, as many as mutual information is as exact without."""
        step = max(int((np.prod(self.fixed.GetSize()) / _ENOUGH) ** (1 / 3)), 1)
        fixed, mask = (image[::step, ::step, ::step] for image in (self.fixed, self.fixed_mask))
        return replace(self, fixed=fixed, fixed_mask=mask)

    def mutual_information(self, transform: sitk.Transform) -> float:
        """Return the mutual information in nats over the whole fixed field of view.

        What lies outside the moving image counts as background, so that an alignment gains nothing by leaving it.
        """
        return _information(_joint(*self._seen(transform)))

    def information_told(self, transform: sitk.Transform, push: float) -> float:
        """Return the share, 0 to 1, of what the plainer image says that the other says, too, because it lies there.

        That is the normalized mutual information I / min(H(f), H(m)) less what is left of it when the moving image is
        pushed off by ``push`` mm, to the nearest voxel, on the mean over both ways along each axis of the fixed image.
        """
        fixed, warped, inside = self._seen(transform)
        joint = _joint(fixed, warped, inside)
        steps = max(round(push / self.fixed.GetSpacing()[0]), 1)
        pushed = [
            _information(_joint(fixed, _pushed(warped, axis, by), inside))
            for axis in range(3)
            for by in (-steps, steps)
        ]
        plainer = min(_entropy(joint.sum(0)), _entropy(joint.sum(1)))
        return max(_information(joint) - float(np.mean(pushed)), 0.0) / plainer if plainer > 0 else 0.0

    def _seen(self, transform: sitk.Transform) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the fixed image, the moving one through the transform, and where the fixed one counts (D, H, W)."""
        whole = transform if self.outer is None else sitk.CompositeTransform([self.outer, transform])
        warped = sitk.GetArrayFromImage(Grid.of(self.fixed).resample(self.moving, whole))
        return sitk.GetArrayViewFromImage(self.fixed), warped, sitk.GetArrayViewFromImage(self.fixed_mask) > 0

    def best(self, *transforms: sitk.Transform) -> sitk.Transform:
        """Return the transform with the highest mutual information, the first of equals."""
        return max(transforms, key=self.mutual_information)

    def _rim(self) -> list[int]:
        """Return how many voxels of background to add on either side of the moving image, along each of its axes.

        A rigid alignment then gains nothing by pushing what it cannot match out of the moving image; an affine one
        would gain by stretching the moving image over all of the fixed one. None are added along an axis where the
        moving image is too short to hold the fixed one.
        """
        fixed, moving = Grid.of(self.fixed), Grid.of(self.moving)
        lengths = np.array(moving.size) * moving.spacing
        return [
            _RIM if length > 0.75 * _extent_along(fixed, axis) else 0 for length, axis in zip(lengths, moving.axes.T)
        ]

    @cached_property  # several starts are followed at one level
    def _rimmed(self) -> tuple[sitk.Image, sitk.Image]:
        """Return the moving image with its rim, and the mask of what counts and of the rim all around it."""
        rim = self._rim()
        if not any(rim):
            return self.moving, self.moving_mask
        moving, mask = (sitk.ConstantPad(image, rim, rim, 0) for image in (self.moving, self.moving_mask))
        distance = sitk.SignedMaurerDistanceMap(mask, squaredDistance=False, useImageSpacing=False)
        mask = sitk.Cast(distance <= _RIM, sitk.sitkUInt8)
        if self.moving_excluded is not None:
            mask = mask * (sitk.ConstantPad(self.moving_excluded, rim, rim, 0) == 0)
        return moving, mask

    def _physical_shifts(self, transform: sitk.Transform) -> list[float]:
        """Return how far a unit of each parameter moves the corners of the fixed image, the farthest, squared."""
        grid, parameters = Grid.of(self.fixed), np.array(transform.GetParameters())
        there = grid.corners_through(transform)
        changed, scales = transform.__class__(transform), []
        for change in _SMALL_CHANGE * np.eye(len(parameters)):
            changed.SetParameters((parameters + change).tolist())
            shifts = np.linalg.norm(grid.corners_through(changed) - there, axis=1) / _SMALL_CHANGE
            scales.append(float(shifts.max() ** 2))
        return scales

    def optimized(self, start: sitk.Transform, seed: int) -> sitk.Transform:
        """Return ``start`` after a descent on Mattes' mutual information; ``start`` itself where it leads nowhere."""
        is_affine = isinstance(start, sitk.AffineTransform)
        moving, moving_mask = (self.moving, self.moving_mask) if is_affine else self._rimmed
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(_BINS)
        # That filter smooths once more: the derivative would be of another image than the one that is looked at.
        method.MetricUseMovingImageGradientFilterOff()
        voxels = int(np.prod(self.fixed.GetSize()))
        if voxels > _SAMPLES:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(_SAMPLES / voxels, seed % (2**32 - 1) + 1)
        if sitk.GetArrayViewFromImage(self.fixed_mask).min() == 0:
            method.SetMetricFixedMask(self.fixed_mask)
        if sitk.GetArrayViewFromImage(moving_mask).min() == 0:
            method.SetMetricMovingMask(moving_mask)
        method.SetInterpolator(sitk.sitkLinear)
        spacing = self.fixed.GetSpacing()[0]
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=spacing, minStep=0.01 * spacing, numberOfIterations=100, relaxationFactor=0.6,
            gradientMagnitudeTolerance=1e-8,
        )  # fmt: skip
        if self.outer is None or self.outer.IsLinear():
            method.SetOptimizerScalesFromPhysicalShift()
        else:  # it would look at random points, others each time
            method.SetOptimizerScales(self._physical_shifts(start))
        transform = start.__class__(start)
        method.SetInitialTransform(transform, inPlace=True)
        if self.outer is not None:
            method.SetMovingInitialTransform(self.outer)
        try:
            with _one_thread():
                method.Execute(self.fixed, moving)
        except RuntimeError:  # too few samples inside the moving image
            return start
        return transform


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let ITK work on one thread: with more, the order of a sum changes the last digits from run to run."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def align(
    fixed: Normalized,
    moving: Normalized,
    initialization: str,
    initial: sitk.Transform | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> sitk.Transform:
    """Return the aligning fixed-to-moving point transform (LPS mm): identity, `initial`, rigid or affine before it.

    Rigid alignment starts from the scanner coordinates, the centres of both fields of view, the centres of mass, tilted
    by up to 15 degrees, and, where one field of view is much the longer, along its length; the best starts at 8 mm are
    followed down to 2 mm and the one with the highest mutual information is kept. With ``initial`` that is the only
    start, and the result is x → initial(linear(x)). An image of which a mask leaves less than a fifth is aligned as a
    whole. Deterministic for one seed, whatever the number of threads.

    Raises:
        InputError: when the images do not overlap and may not be moved, or lie implausibly far apart.
    """
    identity = _identity(fixed.image)
    _check_overlap(fixed.image, moving.image, initial, initialization)
    if initialization == "none":
        return initial or identity
    coarse_mm, middle_mm, finest_mm = _spacings(fixed.image)
    fixed, moving = (image if image.counted > _LEAST_COUNTED else image.unmasked() for image in (fixed, moving))
    finest = Level.of(fixed, moving, initial).at(finest_mm)
    middle = finest.at(middle_mm)
    coarse = middle.at(coarse_mm, _COARSE_SMOOTHING)
    rigid = identity if initial is not None else _best_rigid(coarse, seed, progress)
    rigid = coarse.best(rigid, coarse.optimized(rigid, seed))
    for number, level in enumerate((middle, finest)):
        progress(0.4 + 0.2 * number)
        rigid = level.best(level.optimized(rigid, seed), rigid)
    # A small motion can be lost at 8 mm: where the images start has a say at the finest level, too. If that is near
    # what was found, a descent from it leads to the same place.
    progress(0.8)
    own = [] if _largest_motion(rigid, fixed.image) < _NEAR_MM else [finest.optimized(identity, seed)]
    result: sitk.Transform = finest.best(rigid, *own, identity)
    if initialization == "affine":
        progress(0.9)
        affine: sitk.Transform = _as_affine(result)
        for level in (middle, finest):
            affine = level.optimized(affine, seed)
        result = finest.best(result, affine) if _plausible(affine) else result
    if initial is None:
        return result
    whole = sitk.CompositeTransform([initial, result])
    whole.FlattenTransform()  # ITK writes no composite within another
    return whole


def _best_rigid(level: Level, seed: int, progress: Callable[[float], None]) -> sitk.Transform:
    scored = sorted(
        ((level.mutual_information(start), -number, start) for number, start in enumerate(_starts(level))),
        key=lambda entry: entry[:2],
        reverse=True,
    )
    refined = []
    for number, (_, _, start) in enumerate(_distinct(scored)):
        refined.append(level.optimized(start, seed))
        progress(0.4 * (number + 1) / _STARTS_REFINED)
    return level.best(*refined)


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


def _joint(fixed: np.ndarray, moving: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return how often each pair of grey values lies on each other where it counts, (32, 32), 1 in all."""
    rows, columns = (np.clip((values[inside] * _BINS).astype(np.int32), 0, _BINS - 1) for values in (fixed, moving))
    return np.bincount(rows * _BINS + columns, minlength=_BINS**2).reshape(_BINS, _BINS) / max(rows.size, 1)


def _information(joint: np.ndarray) -> float:
    return _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint)


def _entropy(shares: np.ndarray) -> float:
    filled = shares[shares > 0]
    return float(-(filled * np.log(filled)).sum())


def _pushed(values: np.ndarray, axis: int, steps: int) -> np.ndarray:
    """Return the values so many voxels further along an axis; past the end, the last."""
    length = values.shape[axis]
    return values.take(np.arange(steps, length + steps).clip(0, length - 1), axis)


def _extent_along(grid: Grid, direction: np.ndarray) -> float:
    return float(np.abs(grid.axes.T @ direction) @ (np.array(grid.size) * grid.spacing))


def _mass_center(image: sitk.Image) -> np.ndarray:
    values = sitk.GetArrayViewFromImage(image)
    total = max(float(values.sum()), 1e-9)
    index = [float((values.sum(axis=tuple({0, 1, 2} - {axis})) * np.arange(n)).sum() / total)
             for axis, n in enumerate(values.shape)]  # fmt: skip
    return Grid.of(image).point(np.array(index[::-1]))


def _identity(image: sitk.Image) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(Grid.of(image).center)
    return transform


def _largest_motion(transform: sitk.Transform, image: sitk.Image) -> float:
    """Return how far a corner of the image is moved at most, in mm."""
    grid = Grid.of(image)
    return float(np.linalg.norm(grid.corners_through(transform) - grid.corners, axis=1).max())


def _as_affine(rigid: sitk.Euler3DTransform) -> sitk.AffineTransform:
    affine = sitk.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    return affine


def _plausible(affine: sitk.AffineTransform) -> bool:
    """Say whether an affine result scales and shears a body by no more than a quarter."""
    scales = np.linalg.svd(np.array(affine.GetMatrix()).reshape(3, 3), compute_uv=False)
    return bool(scales.max() < 1.25 and scales.min() > 0.8)


def _spacings(image: sitk.Image) -> tuple[float, float, float]:
    """Return the voxel sizes in mm of the three levels, the coarsest first."""
    thinnest = min(n * s for n, s in zip(image.GetSize(), image.GetSpacing()))
    coarse = min(_COARSE_MM, max(thinnest / 10, _LEAST_COARSE_MM))
    return coarse, coarse / 2, max(coarse / 4, min(_FINEST_MM, coarse / 2) * 0.999)


def _check_overlap(fixed: sitk.Image, moving: sitk.Image, initial: sitk.Transform | None, initialization: str) -> None:
    there = Grid.of(moving).corners
    corners = Grid.of(fixed).corners if initial is None else Grid.of(fixed).corners_through(initial)
    gap = np.maximum(np.maximum(there.min(0) - corners.max(0), corners.min(0) - there.max(0)), 0)
    is_moved = initialization != "none"
    if gap.max() == 0 or (is_moved and np.all(gap <= _MAXIMUM_GAP_MM)):
        return
    apart = f"the fixed and the moving image do not overlap in space: {np.linalg.norm(gap):.0f} mm lie between them"
    if initial is not None:
        raise InputError(f"Through the initial transform {apart}; give another, or none.")
    way = ", too far for one patient; check their origins" if is_moved else "; choose rigid initialization"
    raise InputError(f"T{apart[1:]}{way} or give an initial transform.")
