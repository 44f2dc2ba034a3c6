"""Target registration error on CT-MR pairs that are warped by a known smooth field and moved by a known rigid motion.

    python Testing/benchmarks/known_warps.py --data FOLDER --cases STS_010 STS_023 STS_047
    python Testing/benchmarks/known_warps.py --data FOLDER --cases STS_010 --geometries

FOLDER holds CASE/MR_T1_image.nii.gz and CASE/CT_image.nii.gz of pairs that are near alignment as scanned; what is
left of misalignment in them is the floor of the error. With --geometries the same case is given in other voxel grids,
and the table says how far the results are apart.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "GradientGuidedRegistration"))

from GradientGuidedRegistrationLib.registration import Result, Settings, read_image, register
from GradientGuidedRegistrationLib.registration.grid import Grid, covering_grid


def smooth_field(grid: Grid, amplitude: float, width: float, seed: int) -> sitk.Image:
    """Return a random displacement field (LPS mm), Gaussian smoothness ``width`` mm, largest length ``amplitude``."""
    random = np.random.default_rng(seed)
    rim = int(np.ceil(3 * width / grid.spacing[0]))  # smoothed noise is many times larger at the border of its grid
    wide = grid.padded(rim)
    noise = [wide.image(random.normal(size=wide.shape)) for _ in range(3)]
    field = sitk.Compose([sitk.SmoothingRecursiveGaussian(component, width)[rim:-rim, rim:-rim, rim:-rim]
                          for component in noise])  # fmt: skip
    longest = np.linalg.norm(sitk.GetArrayViewFromImage(field), axis=-1).max()
    return grid.image(sitk.GetArrayFromImage(field) * (amplitude / longest))


def spoiled(ct: sitk.Image, options: argparse.Namespace, seed: int) -> tuple[sitk.Image, sitk.Transform]:
    """Return the CT warped and moved, and the transform from points of the original CT to points of the spoiled one."""
    grid = covering_grid(ct, 3.0).padded(12)
    field = smooth_field(grid, options.amplitude, options.width, seed)
    back = sitk.InvertDisplacementField(
        field, maximumNumberOfIterations=50, maxErrorToleranceThreshold=0.01, meanErrorToleranceThreshold=0.001
    )
    fields = [sitk.Cast(each, sitk.sitkVectorFloat64) for each in (field, back)]
    warp, unwarp = map(sitk.DisplacementFieldTransform, fields)
    warped = sitk.Resample(ct, ct, unwarp, sitk.sitkLinear, float(sitk.GetArrayViewFromImage(ct).min()))
    random = np.random.default_rng(seed + 1)
    axis, shift = random.normal(size=(2, 3))
    turn = sitk.VersorRigid3DTransform()
    turn.SetCenter(Grid.of(ct).center.tolist())
    turn.SetRotation((axis / np.linalg.norm(axis)).tolist(), np.radians(options.degrees))
    turn.SetTranslation((shift * options.millimetres / np.linalg.norm(shift)).tolist())
    rotation = np.array(turn.GetMatrix()).reshape(3, 3)
    warped.SetOrigin(turn.TransformPoint(warped.GetOrigin()))
    warped.SetDirection((rotation @ np.array(warped.GetDirection()).reshape(3, 3)).ravel().tolist())
    return warped, sitk.CompositeTransform([turn, warp])


def tissue_points(mr: sitk.Image, count: int = 2000) -> np.ndarray:
    """Return LPS points in the tissue of an MR."""
    values = sitk.GetArrayViewFromImage(mr)
    inside = np.argwhere(values > 0.12 * np.percentile(values, 99))
    chosen = inside[np.random.default_rng(0).choice(len(inside), min(count, len(inside)), replace=False)]
    return np.array([mr.TransformIndexToPhysicalPoint(tuple(map(int, index[::-1]))) for index in chosen])


def moved(transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
    return np.array([transform.TransformPoint(point) for point in points.tolist()])


def oblique(image: sitk.Image) -> sitk.Image:
    """The image on a grid turned by 25 degrees about two axes, large enough to hold it."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(np.radians(25), np.radians(25), 0.0)
    axes = np.array(turn.GetMatrix()).reshape(3, 3)
    grid = Grid.of(image)
    extent = np.abs(axes.T @ grid.axes) @ (np.array(grid.size) * grid.spacing)
    spacing = np.full(3, min(grid.spacing) * 1.3)
    size = np.ceil(extent / spacing).astype(int)
    origin = grid.center - axes @ ((size - 1) / 2 * spacing)
    background = float(sitk.GetArrayViewFromImage(image).min())
    return sitk.Resample(image, size.tolist(), sitk.Transform(), sitk.sitkLinear, origin.tolist(), spacing.tolist(),
                         turn.GetMatrix(), background)  # fmt: skip


def anisotropic(image: sitk.Image) -> sitk.Image:
    spacing = (0.7, 0.7, 5.0)
    size = [int(n * s / t) for n, s, t in zip(image.GetSize(), image.GetSpacing(), spacing)]
    return sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), spacing, image.GetDirection()
    )


GEOMETRIES: dict[str, Callable[[sitk.Image], sitk.Image]] = {
    "RAS voxel order": lambda image: sitk.Flip(image, (True, True, False)),
    "left-handed": lambda image: sitk.Flip(image, (False, False, True)),
    "oblique 25, 25": oblique,
    "0.7 x 0.7 x 5 mm": anisotropic,
    "cropped, odd sizes": lambda image: image[5:-4, 4:-5, 2:-1],
}


def errors(result: Result, truth: sitk.Transform, points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(moved(result.transform, points) - moved(truth, points), axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", required=True)
    parser.add_argument("--amplitude", type=float, default=10.0, help="largest displacement of the warp, mm")
    parser.add_argument("--width", type=float, default=30.0, help="Gaussian smoothness of the warp, mm")
    parser.add_argument("--degrees", type=float, default=10.0)
    parser.add_argument("--millimetres", type=float, default=25.0)
    parser.add_argument("--no-network", action="store_true")
    parser.add_argument("--geometries", action="store_true")
    options = parser.parse_args()
    settings = Settings(use_network=not options.no_network)
    print(f"{'case':<28}{'before':>8}{'linear':>8}{'mean':>8}{'median':>8}{'p95':>8}{'folding %':>11}{'s':>6}")
    for number, case in enumerate(options.cases):
        fixed, ct = (read_image(options.data / case / name) for name in ("MR_T1_image.nii.gz", "CT_image.nii.gz"))
        moving, truth = spoiled(ct, options, seed=number)
        points = tissue_points(fixed)
        result = register(fixed, moving, settings)
        before = np.linalg.norm(moved(truth, points) - points, axis=1).mean()
        linear = np.linalg.norm(moved(result.linear, points) - moved(truth, points), axis=1).mean()
        error = errors(result, truth, points)
        print(f"{case:<28}{before:8.2f}{linear:8.2f}{error.mean():8.2f}{np.median(error):8.2f}"
              f"{np.percentile(error, 95):8.2f}{result.quality['folding_percent']:11.3f}"
              f"{sum(result.timings.values()):6.0f}", flush=True)  # fmt: skip
        for name, change in GEOMETRIES.items() if options.geometries else ():
            other_fixed, other_moving = change(fixed), change(moving)
            other = register(other_fixed, other_moving, settings)
            index = np.array([other_fixed.TransformPhysicalPointToContinuousIndex(p) for p in points.tolist()])
            common = points[np.all((index > 0) & (index < np.array(other_fixed.GetSize()) - 1), axis=1)]
            apart = np.linalg.norm(moved(other.transform, common) - moved(result.transform, common), axis=1)
            error = errors(other, truth, common)
            between = f"apart: median {np.median(apart):.2f}, p95 {np.percentile(apart, 95):.2f} mm"
            print(f"  {name:<42}{error.mean():8.2f}{np.median(error):8.2f}{np.percentile(error, 95):8.2f}   {between}",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
