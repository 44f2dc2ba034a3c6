"""From the displacement on the working grid to the field that leaves the house, and its inverse."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from .grid import MAXIMUM_VOXELS, Grid

_SLOPE = 1.3  # the margin is this much wider than the field at its border is long, so that fading out does not fold


def assemble(
    grid: Grid, displacement: np.ndarray, linear: sitk.Transform, field_of_view: Grid | None = None
) -> sitk.Image:
    """Return the whole fixed-to-moving displacement field, linear part composed: u(x) = linear(x + φ(x)) − x.

    Args:
        grid: the working grid.
        displacement: φ, (3, D, H, W) in voxels, array order.
        linear: fixed-to-moving point transform, LPS mm.
        field_of_view: the fixed image's own grid, where it reaches past the working grid: there the displacement of the
            nearest point of the working grid goes on.

    Returns:
        Vector float32 image in LPS mm on the working grid, extended over the field of view, with a margin in which the
        border value fades to zero. Outside a displacement field ITK stands still and VTK repeats the border value: with
        zero there both agree, and the map is one to one everywhere. Only where the margin would take more than the
        memory budget is it narrower, and may fold, outside the fixed field of view.
    """
    if field_of_view is not None:
        grid, (before, after) = grid.covering(field_of_view, 2 * MAXIMUM_VOXELS)
        displacement = np.pad(displacement, [(0, 0), *zip(before[::-1], after[::-1])], mode="edge")
    total = _followed_by(grid, grid.vectors_to_lps(displacement), linear)
    faces = [np.take(total, end, axis) for axis in range(3) for end in (0, -1)]
    border = max(float(np.linalg.norm(face, axis=-1).max()) for face in faces)
    margin = _margin(grid, border)
    padded = np.pad(total, [(margin, margin)] * 3 + [(0, 0)], mode="edge")
    return grid.padded(margin).image(padded * _fade(grid.shape, margin)[..., None])


def inverse(field: sitk.Image, iterations: int = 60) -> tuple[sitk.Image, dict[str, float]]:
    """Return the inverse of a displacement field on its own grid, and how far it is from being one.

    Args:
        field: vector image, LPS mm, fixed to moving points, on an isotropic grid.
        iterations: upper bound on those of `model.invert`.

    Returns:
        The moving-to-fixed field (vector float32, LPS mm), and the residual |x + v(x) + u(x + v(x)) − x| in mm over
        the grid: {"mean", "p99", "max"}.
    """
    import torch

    from ..model import invert

    grid = Grid.of(field)
    voxels = grid.vectors_from_lps(sitk.GetArrayViewFromImage(field))
    tensor = torch.from_numpy(np.ascontiguousarray(voxels, dtype=np.float32))[None]
    inverted, residual = invert(tensor, iterations=iterations, tolerance=0.01)
    residual_mm = residual.numpy() * grid.spacing[0]
    figures = {
        "mean": float(residual_mm.mean()),
        "p99": float(np.percentile(residual_mm, 99)),
        "max": float(residual_mm.max()),
    }
    return grid.image(grid.vectors_to_lps(inverted[0].numpy()).astype(np.float32)), figures


def _followed_by(grid: Grid, vectors: np.ndarray, transform: sitk.Transform) -> np.ndarray:
    """Return the vectors (D, H, W, 3) of x → transform(x + vectors(x)), LPS mm."""
    deformable = sitk.DisplacementFieldTransform(sitk.Cast(grid.image(vectors), sitk.sitkVectorFloat64))
    whole = sitk.CompositeTransform([transform, deformable])
    field = sitk.TransformToDisplacementField(
        whole, sitk.sitkVectorFloat32, grid.size, grid.origin, grid.spacing, grid.direction
    )
    return sitk.GetArrayFromImage(field)


def _margin(grid: Grid, border_mm: float) -> int:
    wanted = int(np.ceil(_SLOPE * border_mm / grid.spacing[0])) + 1
    margin = 1
    while margin < wanted and np.prod([n + 2 * (margin + 1) for n in grid.shape]) < 2 * MAXIMUM_VOXELS:
        margin += 1
    return margin


def _fade(shape: tuple[int, int, int], margin: int) -> np.ndarray:
    """Return 1 inside the grid, falling linearly with the distance from it to 0 at the outermost points."""
    distances = [np.maximum(np.maximum(margin - n, n - (margin + size - 1)), 0)
                 for size, n in ((size, np.arange(size + 2 * margin)) for size in shape)]  # fmt: skip
    square = sum(np.square(d, dtype=np.float32) for d in np.meshgrid(*distances, indexing="ij", sparse=True))
    return np.clip(1 - np.sqrt(square) / margin, 0, 1)
