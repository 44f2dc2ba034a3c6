"""From the displacement on the working grid to the field that leaves the house, and its inverse."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..evaluation import field_transform
from .grid import MAXIMUM_VOXELS, Grid
from .headers import is_in_parts, linear_matrix

_POLISHING = 2
_CONTINUED_MM = 30.0
_SLOPE = 1.3  # the margin is this much wider than the field at its border is long, so that fading out does not fold


def continued(transform: sitk.Transform) -> sitk.Transform:
    """Return a point transform whose displacement fields go on with their border values for 30 mm, as VTK has them.

    To ITK a field ends at its outermost voxels' centres. A working grid reaches past those of a field that lies on the
    voxels of the fixed image, and a displacement that ends there in one step tears the image.
    """
    if is_in_parts(transform):
        whole = sitk.CompositeTransform(transform)
        return sitk.CompositeTransform(
            [continued(whole.GetNthTransform(n)) for n in range(whole.GetNumberOfTransforms())]
        )
    if transform.GetName() != "DisplacementFieldTransform":
        return transform
    grid = Grid.of(sitk.DisplacementFieldTransform(transform).GetDisplacementField())
    margins = [int(np.ceil(_CONTINUED_MM / mm)) for mm in grid.spacing]
    vectors = np.pad(_sampled(transform, grid), [(n, n) for n in (*margins[::-1], 0)], mode="edge")
    return field_transform(grid.padded(*margins).image(vectors))


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
        Vector float32 image in LPS mm on the working grid, extended over the field of view, with the margin that
        `_faded_out` gives it.
    """
    if field_of_view is not None:
        grid, (before, after) = grid.covering(field_of_view, 2 * MAXIMUM_VOXELS)
        displacement = np.pad(displacement, [(0, 0), *zip(before[::-1], after[::-1])], mode="edge")
    return _faded_out(grid, _followed_by(grid, grid.vectors_to_lps(displacement), linear))


def inverse(
    field: sitk.Image,
    grid: Grid,
    displacement: np.ndarray,
    linear: sitk.Transform,
    field_of_view: Grid | None = None,
    iterations: int = 60,
) -> tuple[sitk.Image, dict[str, float]]:
    """Return the inverse of an assembled field, and how far it is from being one.

    The deformable part is inverted where it lives, the linear part exactly and wherever it leads. Of a linear part that
    has no inverse of its own, an initial transform that is a field itself, the nearest affine one is inverted so, and
    what it has beside it together with the deformable part.

    Args:
        field: the field u, vector image, LPS mm.
        grid, displacement, linear, field_of_view: what it was assembled from.
        iterations: upper bound on those of `model.invert`.

    Returns:
        The moving-to-fixed field v (vector float32, LPS mm) on a grid of its own, around where u takes the working
        grid, and the residual |v(y) + u(y + v(y))| in mm over the points y that lead into the working grid, in the
        middle between those at which v is stored and where it is off the most: {"mean", "p99", "max"}.
    """
    import torch

    from ..model import invert

    try:
        back = linear.GetInverse()
    except RuntimeError:
        linear = _nearest_affine(field, grid)
        back = linear.GetInverse()
        beside = _sampled(sitk.CompositeTransform([back, field_transform(field)]), grid)
        displacement = grid.vectors_from_lps(beside)
    part = assemble(grid, displacement, sitk.Transform(3, sitk.sitkIdentity), field_of_view)
    own, around = Grid.of(part), Grid.of(part).moved(linear)
    voxels = own.vectors_from_lps(sitk.GetArrayViewFromImage(part))
    tensor = torch.from_numpy(np.ascontiguousarray(voxels, dtype=np.float32))[None]
    inverted = invert(tensor, iterations=iterations, tolerance=0.01)[0][0].numpy()
    unwarp = field_transform(own.image(own.vectors_to_lps(inverted)))
    away, vectors = _sampled(back, around), _sampled(sitk.CompositeTransform([unwarp, back]), around)
    warp = field_transform(part)
    for _ in range(_POLISHING):  # the grid's points lie between those at which the deformable part was inverted
        there = sitk.CompositeTransform([warp, field_transform(around.image(vectors))])
        vectors = vectors - (_sampled(there, around) - away)
    result = _faded_out(around, vectors)

    there_and_back = sitk.CompositeTransform([field_transform(field), field_transform(result)])
    rim = [(int(n > 2),) * 2 for n in grid.shape]  # u fades out past the outermost points
    core = np.pad(np.ones([n - 2 * skipped for n, (skipped, _) in zip(grid.shape, rim)], np.uint8), rim)
    between = around.halfway()
    counted = between.resample(grid.image(core), field_transform(result), sitk.sitkNearestNeighbor)
    residual = np.linalg.norm(_sampled(there_and_back, between), axis=-1)[sitk.GetArrayViewFromImage(counted) > 0]
    figures = {
        "mean": float(residual.mean()),
        "p99": float(np.percentile(residual, 99)),
        "max": float(residual.max()),
    }
    return result, figures


def _nearest_affine(field: sitk.Image, grid: Grid) -> sitk.AffineTransform:
    """Return the affine point transform that is nearest to a field in the least-squares sense, at points of a grid."""
    sparse = grid.every(max(min(grid.size) // 16, 1), 0)
    away = _sampled(field_transform(field), sparse).reshape(-1, 3).astype(np.float64)
    indices = np.indices(sparse.shape)[::-1].reshape(3, -1).T
    points = np.array(sparse.origin) + (indices * sparse.spacing) @ sparse.axes.T - grid.center
    solved = np.linalg.lstsq(np.column_stack([points, np.ones(len(points))]), points + away, rcond=None)[0]
    affine = sitk.AffineTransform(3)
    affine.SetCenter(grid.center.tolist())
    affine.SetMatrix(solved[:3].T.ravel().tolist())
    affine.SetTranslation(solved[3].tolist())
    return affine


def _sampled(transform: sitk.Transform, grid: Grid) -> np.ndarray:
    """Return the displacements (D, H, W, 3) of a point transform at the points of a grid, LPS mm."""
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat32, grid.size, grid.origin, grid.spacing, grid.direction
    )
    return sitk.GetArrayFromImage(field)


def _followed_by(grid: Grid, vectors: np.ndarray, transform: sitk.Transform) -> np.ndarray:
    """Return the vectors (D, H, W, 3) of x → transform(x + vectors(x)), LPS mm."""
    if transform.IsLinear():  # five times faster than to ask for every point
        matrix = linear_matrix(transform)[:, :3]
        start = np.array(transform.TransformPoint(grid.origin)) - grid.origin
        steps = (matrix - np.eye(3)) @ grid.axes * grid.spacing  # column a: what a voxel along axis a adds
        x, y, z = (np.arange(n)[:, None] * step for n, step in zip(grid.size, steps.T))
        x, y, z = (part.astype(np.float32) for part in (x, y, z + start))
        followed = vectors.astype(np.float32, copy=False) @ matrix.T.astype(np.float32)
        followed += z[:, None, None] + y[:, None] + x
        return followed
    return _sampled(sitk.CompositeTransform([transform, field_transform(grid.image(vectors))]), grid)


def _faded_out(grid: Grid, vectors: np.ndarray) -> sitk.Image:
    """Return vectors (D, H, W, 3) as an image with a margin in which the border value fades to zero.

    Outside a displacement field ITK stands still and VTK repeats the border value: with zero there both agree, and the
    map is one to one everywhere. Only where that margin would take more than the memory budget, because the images lie
    far apart, there is none, and they differ outside.
    """
    faces = [np.take(vectors, end, axis) for axis in range(3) for end in (0, -1)]
    border = max(float(np.linalg.norm(face, axis=-1).max()) for face in faces)
    margin = int(np.ceil(_SLOPE * border / grid.spacing[0])) + 1
    if np.prod([n + 2.0 * margin for n in grid.shape]) > 2 * MAXIMUM_VOXELS:
        return grid.image(vectors)
    padded = np.pad(vectors, [(margin, margin)] * 3 + [(0, 0)], mode="edge")
    return grid.padded(margin).image(padded * _fade(grid.shape, margin)[..., None])


def _fade(shape: tuple[int, int, int], margin: int) -> np.ndarray:
    """Return 1 inside the grid, falling linearly with the distance from it to 0 at the outermost points."""
    distances = [np.maximum(np.maximum(margin - n, n - (margin + size - 1)), 0)
                 for size, n in ((size, np.arange(size + 2 * margin)) for size in shape)]  # fmt: skip
    square = sum(np.square(d, dtype=np.float32) for d in np.meshgrid(*distances, indexing="ij", sparse=True))
    return np.clip(1 - np.sqrt(square) / margin, 0, 1)
