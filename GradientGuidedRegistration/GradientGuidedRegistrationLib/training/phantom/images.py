"""Generated pairs as SimpleITK images with scanner geometry, and their truth as a displacement field in LPS mm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from .draws import Draws
from .pair import PhantomPair, phantom_pair


@dataclass(frozen=True)
class Scan:
    """Geometry of one scan relative to the common grid.

    Attributes:
        spacing: (i, j, k) voxel size in mm, or None for that of the common grid.
        angles: rotation of the scan's axes about x, y, z in degrees.
        cover: part of the common field of view that the scan covers along (i, j, k).
        shift: centre of the scan relative to the centre of the common grid, mm LPS.
        background: value outside the patient's field of view.
        left_handed: the k axis is stored the other way round.
    """

    spacing: tuple[float, float, float] | None = None
    angles: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cover: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    background: float = 0.0
    left_handed: bool = False


OBLIQUE_MR = Scan(angles=(8.0, -5.0, 12.0), cover=(0.95, 0.95, 0.75), left_handed=True)
"""A tilted MR that covers less than the CT; give it a spacing through `phantom_images(fixed_scan=…)`."""


def phantom_images(
    seed: int,
    shape: tuple[int, int, int] = (144, 144, 128),
    spacing: float = 1.0,
    kind: str = "abdomen",
    device: str | torch.device = "cpu",
    *,
    geometry: str = "common",
    fixed_scan: Scan | None = None,
    moving_scan: Scan | None = None,
    misalignment: float = 0.0,
    **options: Any,
) -> dict[str, Any]:
    """Generate pair number `seed` as SimpleITK images in LPS mm.

    Args:
        geometry: "common" keeps both images on one grid; "scanner" draws an oblique, anisotropic MR with a partial
            field of view, an anisotropic CT and a rigid misalignment of the patient, all from the seed.
        fixed_scan, moving_scan: geometries instead of those of `geometry`.
        misalignment: size of a rigid displacement of the patient between the scans: mm of shift and degrees of
            rotation.
        seed, shape, spacing, kind, device, options: as for `phantom_pair`.

    Returns:
        fixed, moving: float32 images (MR in scanner units, CT in HU); fixed_labels, moving_labels: uint8 images;
        field: vector float64 image over the fixed image's field of view, LPS mm, from fixed to moving points, the one
        that `sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(field))` takes; label_names: dict;
        description: dict.

    Raises:
        InputError: an unknown geometry, or as for `phantom_pair`.
    """
    pair = phantom_pair(seed, shape, spacing, kind, device, **options)
    d = Draws(seed + 7_000_003)
    if geometry == "scanner":
        fixed_scan = fixed_scan or Scan(
            spacing=(1.3 * spacing, 1.3 * spacing, d.choice((2.0, 3.0)) * spacing),
            angles=tuple(d.vector(-12, 12).tolist()),
            cover=(0.95, 0.95, d.uniform(0.65, 0.85)),
            shift=tuple((0.05 * spacing * min(shape) * d.vector(-1, 1)).tolist()),
            left_handed=d.chance(0.5),
        )
        moving_scan = moving_scan or Scan(spacing=(0.9 * spacing, 0.9 * spacing, 2.0 * spacing))
        misalignment = misalignment or 8.0
    elif geometry != "common":
        from ...errors import InputError

        raise InputError(f"Geometry {geometry!r} is unknown; choose 'common' or 'scanner'.")
    return _as_images(pair, fixed_scan, moving_scan, _patient_motion(d, misalignment) if misalignment else None)


def _patient_motion(d: Draws, size: float) -> sitk.Euler3DTransform:
    motion = sitk.Euler3DTransform()
    motion.SetTranslation((size * d.vector(-1, 1)).tolist())
    motion.SetRotation(*(math.radians(size) * d.vector(-1, 1)).tolist())
    return motion


def _as_images(
    pair: PhantomPair, fixed_scan: Scan | None, moving_scan: Scan | None, motion: sitk.Euler3DTransform | None
) -> dict:
    common = _image(pair.fixed, pair)
    vectors = pair.displacement[0].flip(0).permute(1, 2, 3, 0).double().cpu().numpy() * pair.spacing
    field = sitk.GetImageFromArray(np.ascontiguousarray(vectors), isVector=True)
    field.CopyInformation(common)
    fixed, fixed_labels = common, _image(pair.fixed_labels, pair)
    moving, moving_labels = _image(pair.moving, pair), _image(pair.moving_labels, pair)
    if fixed_scan is not None:
        grid = _scan_grid(common, fixed_scan)
        fixed = sitk.Resample(fixed, grid, sitk.Transform(), sitk.sitkLinear, fixed_scan.background)
        fixed_labels = sitk.Resample(fixed_labels, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        field = _resampled_field(field, grid)
    if moving_scan is not None or motion is not None:
        grid = _scan_grid(common, moving_scan or Scan())
        # The patient lies elsewhere in the CT: a point p of the common frame is found at motion(p).
        back = motion.GetInverse() if motion is not None else sitk.Transform()
        moving = sitk.Resample(moving, grid, back, sitk.sitkLinear, -1024.0)
        moving_labels = sitk.Resample(moving_labels, grid, back, sitk.sitkNearestNeighbor, 0)
        if motion is not None:
            field = _followed_by(field, motion)
    return {
        "fixed": fixed,
        "moving": moving,
        "fixed_labels": fixed_labels,
        "moving_labels": moving_labels,
        "field": field,
        "label_names": pair.label_names,
        "description": pair.description,
    }


def _image(tensor: torch.Tensor, pair: PhantomPair) -> sitk.Image:
    image = sitk.GetImageFromArray(tensor[0, 0].cpu().numpy())
    image.SetSpacing((pair.spacing,) * 3)
    image.SetOrigin([-0.5 * pair.spacing * (n - 1) for n in image.GetSize()])
    return image


def _scan_grid(common: sitk.Image, scan: Scan) -> sitk.Image:
    spacing = scan.spacing or common.GetSpacing()
    extent = [n * s * c for n, s, c in zip(common.GetSize(), common.GetSpacing(), scan.cover)]
    size = [max(16, int(round(e / s))) for e, s in zip(extent, spacing)]
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*(math.radians(a) for a in scan.angles))
    axes = np.array(turn.GetMatrix()).reshape(3, 3)
    if scan.left_handed:
        axes[:, 2] *= -1
    middle = (
        np.array(common.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in common.GetSize()])) + scan.shift
    )
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing(spacing)
    grid.SetDirection(axes.ravel().tolist())
    grid.SetOrigin((middle - axes @ ((np.array(size) - 1) / 2 * np.array(spacing))).tolist())
    return grid


def _resampled_field(field: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """The field on the region of `grid` and a little more, no coarser than it was; LPS vectors need no turning."""
    spacing = field.GetSpacing()[0]
    size = [int(math.ceil(n * s / spacing)) + 8 for n, s in zip(grid.GetSize(), grid.GetSpacing())]
    axes = np.array(grid.GetDirection()).reshape(3, 3)
    middle = np.array(grid.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in grid.GetSize()]))
    origin = middle - axes @ ((np.array(size) - 1) / 2 * spacing)
    parts = []
    for component in range(3):
        padded = sitk.ZeroFluxNeumannPad(sitk.VectorIndexSelectionCast(field, component), [24] * 3, [24] * 3)
        parts.append(
            sitk.Resample(
                padded, size, sitk.Transform(), sitk.sitkLinear, origin.tolist(), [spacing] * 3, grid.GetDirection()
            )
        )
    return sitk.Compose(parts)


def _followed_by(field: sitk.Image, motion: sitk.Euler3DTransform) -> sitk.Image:
    """p → motion(p + field(p)) as a displacement."""
    matrix, offset = np.array(motion.GetMatrix()).reshape(3, 3), np.array(motion.TransformPoint((0.0, 0.0, 0.0)))
    points = _physical_points(field)
    vectors = sitk.GetArrayFromImage(field)
    result = sitk.GetImageFromArray((points + vectors) @ matrix.T + offset - points, isVector=True)
    result.CopyInformation(field)
    return result


def _physical_points(image: sitk.Image) -> np.ndarray:
    """LPS mm of each voxel, (D, H, W, 3)."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in image.GetSize()[::-1]), indexing="ij")
    steps = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return np.stack([i, j, k], axis=-1) @ steps.T + np.array(image.GetOrigin())
