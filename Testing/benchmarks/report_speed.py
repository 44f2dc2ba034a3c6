"""Time and size of a report of a large case: CT and MR of 512 x 512 x 150 voxels, all structures of a phantom in both.

    python Testing/benchmarks/report_speed.py [--size 512 512 150] [--threads 1] [--profile 30]

Prints the seconds of `write_report` with nothing known beforehand, as the panel calls it: comparison of the structures,
pictures, page. They are those of the wall and those of the processor, which say more on a machine that others use. The
bar is 20 s and 8 MB.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "GradientGuidedRegistration"))

from GradientGuidedRegistrationLib.evaluation import label_values
from GradientGuidedRegistrationLib.figures import write_report
from GradientGuidedRegistrationLib.registration.result import Result
from GradientGuidedRegistrationLib.registration.settings import Settings
from GradientGuidedRegistrationLib.renderer import report_renderer
from GradientGuidedRegistrationLib.training.phantom import phantom_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 150), metavar=("X", "Y", "Z"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="print the N most expensive functions")
    options = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(options.threads)
    images, result = large_case(tuple(options.size))
    count = len(label_values(images["fixed_labels"]))
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory() as folder:
        started, worked = time.perf_counter(), time.process_time()
        if options.profile:
            profile.enable()
        path = write_report(result, **images, directory=folder, render=report_renderer())
        profile.disable()
        seconds, work = time.perf_counter() - started, time.process_time() - worked
        size = path.stat().st_size
    print(
        f"{'x'.join(map(str, options.size))}, {count} structures: {seconds:.1f} s ({work:.1f} s of the processor), "
        f"{size / 1e6:.1f} MB"
    )
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(options.profile)


def large_case(size: tuple[int, int, int]) -> tuple[dict[str, sitk.Image], Result]:
    """A phantom pair in `size` voxels, registered with the truth at 2.5 mm but for a smooth error of a few mm."""
    small = phantom_images(5, (112, 128, 160), 2.0, geometry="scanner")
    images = {
        name: on_size(small[name], size, sitk.sitkNearestNeighbor if "labels" in name else sitk.sitkLinear)
        for name in ("fixed", "moving", "fixed_labels", "moving_labels")
    }
    field = on_spacing(small["field"], 2.5)
    error = 3 * np.sin(np.linspace(0, 9, field.GetWidth()))[None, None, :, None] * np.array([1.0, 0.5, -0.5])
    values = sitk.GetArrayFromImage(field) + error
    wrong = sitk.GetImageFromArray(values.astype(np.float32), isVector=True)
    wrong.CopyInformation(field)
    return images, Result(wrong, sitk.Euler3DTransform(), Settings(), expected_error=sitk.VectorMagnitude(wrong) * 0.1)


def on_size(image: sitk.Image, size: tuple[int, int, int], interpolator: int) -> sitk.Image:
    """The same box in `size` voxels; CT and MR as 16-bit integers, as scanners give them."""
    spacing = np.array(image.GetSpacing()) * image.GetSize() / size
    first = image.TransformContinuousIndexToPhysicalPoint(((spacing / image.GetSpacing() - 1) / 2).tolist())
    return sitk.Resample(
        image, size, sitk.Transform(3, sitk.sitkIdentity), interpolator, first, spacing.tolist(), image.GetDirection(),
        0, sitk.sitkInt16 if interpolator == sitk.sitkLinear else sitk.sitkUInt8,
    )  # fmt: skip


def on_spacing(field: sitk.Image, spacing_mm: float) -> sitk.Image:
    """The field on a coarser grid of the same place."""
    size = [int(n * own / spacing_mm) for n, own in zip(field.GetSize(), field.GetSpacing())]
    return sitk.Resample(
        field, size, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkLinear, field.GetOrigin(), [spacing_mm] * 3,
        field.GetDirection(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
