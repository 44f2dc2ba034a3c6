"""One registration in five steps: prepare, align, predict, refine, assemble."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from . import linear as linear_alignment
from .device import pick_device
from .fields import assemble, continued, inverse
from .files import check_content, check_volume
from .grid import Grid, antialiased, in_patient_order, smoothed, working_grid
from .intensity import Normalized, normalize
from .memory import check_memory
from .result import Result
from .settings import Settings
from .trust import PUSH_MM, Held, expected_error, judged

if TYPE_CHECKING:
    from torch import Tensor

    from .descriptors import Descriptors

Progress = Callable[[str, float], None]
_DEFAULTS = Settings()
_LARGEST_LOOK = 1_500_000  # voxels; to look at more takes longer than all other steps together
# What a network says on a finer scale than this is as often wrong as right: half of it is nearer to the truth.
_FINE_VOXELS = 6.0  # standard deviation
_FINE_SHARE = 0.5
# What an alignment leaves is about as long as a network errs: the likeliest displacement is then shorter than it says.
_SHARE_ALIGNED = 0.7
_LEAST_DETAIL_MM = 4.0  # of images without it, noise does not say how much one tells of the other
_SAMPLED_MM = 3.0  # where that is measured
# Share of the time that each step takes, for the progress bar.
_STEPS = {"prepare": 0.08, "align": 0.22, "predict": 0.1, "refine": 0.5, "assemble": 0.1}


def register(
    fixed: sitk.Image,
    moving: sitk.Image,
    settings: Settings = _DEFAULTS,
    *,
    fixed_mask: sitk.Image | None = None,
    moving_mask: sitk.Image | None = None,
    initial_transform: sitk.Transform | None = None,
    progress: Progress | None = None,
) -> Result:
    """Register ``moving`` (a CT) to ``fixed`` (an MR), or any two volumes of one patient.

    Args:
        fixed, moving: scalar 3-D images in LPS mm, of any orientation, spacing, handedness and field of view.
        settings: see `Settings`.
        fixed_mask, moving_mask: non-zero where the image counts, on any grid.
        initial_transform: fixed-to-moving point transform (LPS mm) to start from, see `fields.continued`.
        progress: called as ``progress(step, fraction)`` with the fraction of the whole work done; may raise
            `Cancelled`.

    Returns:
        The field with all that was found out about it.

    Raises:
        InputError: for images that cannot be registered; see `files.check_content` and `linear.align`.
    """
    run = _Run(settings, progress or (lambda step, fraction: None))
    with run.step("prepare"):
        device = pick_device(settings.device)
        network = _load_network(settings, device)
        fixed, moving = _checked(fixed, "fixed image"), _checked(moving, "moving image")
        normalized_fixed, normalized_moving = normalize(fixed).cropped(), normalize(moving).cropped()
        grid = working_grid(Grid.of(fixed), settings.spacing, valid=normalized_fixed.valid, refined=settings.is_refined)
        if settings.spacing is not None and device == "cpu":
            check_memory(grid)
        normalized_fixed = _restricted(normalized_fixed, fixed_mask, "fixed mask")
        normalized_moving = _restricted(normalized_moving, moving_mask, "moving mask")
        initial_transform = continued(initial_transform) if initial_transform is not None else None
    with run.step("align"):
        linear = linear_alignment.align(
            normalized_fixed, normalized_moving, settings.initialization, initial_transform, settings.seed,
            lambda fraction: run.report("align", fraction),
        )  # fmt: skip
    with run.step("predict"):
        pair = Pair.on(grid, normalized_fixed, normalized_moving, linear, device)
        prediction = _predicted(network, pair, settings) if network else None
    with run.step("refine"):
        descriptors = _described(pair)
        refined, network_used = _refined(
            descriptors, prediction, settings, lambda fraction: run.report("refine", fraction)
        )
        held = _held(descriptors, refined, grid)
        del descriptors, pair  # a gigabyte or two that an inverse may need
    with run.step("assemble"):
        parts = (grid, refined[0].cpu().numpy(), linear, Grid.of(fixed))
        whole = assemble(*parts)
        inverse_field, residual = inverse(whole, *parts) if settings.inverse else (None, None)
        quality = _quality(normalized_fixed, normalized_moving, grid, whole, linear, initial_transform)
        if residual is not None:
            quality["inverse_residual_mm"] = residual
        quality["overlap"] = _overlap(normalized_fixed, normalized_moving, grid, linear)
        error = expected_error(held, quality["information_told"])
        quality["verdict"], quality["reasons"] = judged(error, held, quality)
        quality["network"] = getattr(network, "name", None)
        quality["network_used"] = network_used
    run.progress("done", 1.0)
    return Result(
        field=whole,
        linear=linear,
        settings=replace(settings, device=device),
        inverse_field=inverse_field,
        **_branches(prediction, grid),
        expected_error=error,
        quality=quality,
        timings=dict(run.timings),
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Return the versions of this extension and of what it computes with."""
    import torch

    from .. import __version__

    return {
        "GradientGuidedRegistration": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "SimpleITK": sitk.Version.VersionString(),
    }


@dataclass
class _Run:
    """Times the steps and turns the progress of a step into that of the whole."""

    settings: Settings
    progress: Progress
    timings: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.report(name, 0.0)
        start = time.perf_counter()
        yield
        self.timings[name] = time.perf_counter() - start

    def report(self, name: str, fraction: float) -> None:
        before = sum(share for step, share in list(_STEPS.items())[: list(_STEPS).index(name)])
        self.progress(name, before + _STEPS[name] * fraction)


@dataclass(frozen=True)
class Pair:
    """Both images on the working grid as tensors (1, 1, D, H, W), the moving one through the linear part."""

    fixed: Tensor
    moving: Tensor
    fixed_mask: Tensor | None
    moving_mask: Tensor | None

    @classmethod
    def on(cls, grid: Grid, fixed: Normalized, moving: Normalized, linear: sitk.Transform, device: str) -> Pair:
        """Read both images on the grid; `linear` is LPS mm, fixed to moving. Thick slices are read by a spline."""
        import torch

        def tensor(resampled: sitk.Image) -> Tensor:
            array = sitk.GetArrayFromImage(resampled)
            return torch.from_numpy(array.astype(np.float32, copy=False))[None, None].to(device)

        def image(of: Normalized, transform: sitk.Transform | None = None) -> Tensor:
            sampled = antialiased(of.image, grid.spacing[0])
            # Between slices farther apart than the grid's, linear interpolation blurs what is to be compared. Of two
            # slices, all that were measured, ITK's spline makes infinities.
            is_coarser = max(of.image.GetSpacing()) > 1.01 * grid.spacing[0]
            is_thick = min(of.image.GetSize()) > 3
            interpolator = sitk.sitkBSpline if is_coarser and is_thick else sitk.sitkLinear
            return tensor(grid.resample(sampled, transform, interpolator, of.background))

        def mask(of: Normalized, transform: sitk.Transform | None = None) -> Tensor | None:
            values = tensor(grid.resample(of.valid, transform, sitk.sitkNearestNeighbor))
            return None if bool((values > 0).all()) else (values > 0).float()

        return cls(image(fixed), image(moving, linear), mask(fixed), mask(moving, linear))


def _checked(image: sitk.Image, name: str) -> sitk.Image:
    check_volume(image, name)
    check_content(image, name)
    return in_patient_order(sitk.Cast(image, sitk.sitkFloat32))


def _restricted(normalized: Normalized, mask: sitk.Image | None, name: str) -> Normalized:
    """Return the image with what counts of it restricted to a mask."""
    if mask is None:
        return normalized
    check_volume(mask, name)
    if not sitk.GetArrayViewFromImage(mask).any():
        raise InputError(f"The {name} is empty: it has no voxel that is not 0.")
    inside = Grid.of(normalized.image).resample(
        sitk.Cast(mask != 0, sitk.sitkUInt8), interpolator=sitk.sitkNearestNeighbor
    )
    valid = inside * normalized.valid
    if sitk.GetArrayViewFromImage(valid).sum() < 1000:
        raise InputError(f"The {name} covers almost nothing of its image; check that it belongs to it.")
    return replace(normalized, valid=valid, excluded=normalized.valid - valid)


def _load_network(settings: Settings, device: str):
    """Return the network to predict with, or None where there are no weights to use."""
    if not settings.use_network:
        return None
    from .models import weights_file

    path = weights_file(settings)
    if path is None:
        return None
    from ..model import load_weights

    return load_weights(path, settings.method, device)


def _predicted(network, pair: Pair, settings: Settings):
    """Return what the network says. Its coarse look is enough to start a refinement from, and all that is fast."""
    import torch

    from ..model import register_in_passes

    with torch.no_grad():
        images = (image.clamp(0, 1) for image in (pair.moving, pair.fixed))
        is_wanted = not settings.is_refined and pair.fixed.numel() <= _LARGEST_LOOK
        return register_in_passes(network, *images, to_full_resolution=is_wanted)


def _described(pair: Pair) -> Descriptors:
    from .descriptors import Descriptors

    return Descriptors.of(pair.fixed, pair.moving, pair.fixed_mask, pair.moving_mask)


def _refined(
    descriptors: Descriptors, prediction, settings: Settings, progress: Callable[[float], None]
) -> tuple[Tensor, bool]:
    """Return φ in voxels, refined on the pair, and whether the network's displacement has a part in it.

    Without iterations the network's displacement, calmed, is taken where it folds nowhere and the pair is more similar
    with it; after an alignment, a share of it.
    """
    from .problem import dissimilarity
    from .refinement import DEFAULT_ITERATIONS, refine

    predicted = None if prediction is None else prediction.displacement
    iterations = DEFAULT_ITERATIONS if settings.refine is None else settings.refine
    if iterations > 0:
        return refine(descriptors, predicted, iterations, settings.seed, progress)
    still = descriptors.fixed.image.new_zeros((1, 3, *descriptors.shape))
    if predicted is None:
        return still, False
    displacement = _calmed(predicted) * (1.0 if settings.initialization == "none" else _SHARE_ALIGNED)
    if _folds(displacement):
        return still, False
    of_none, of_network = dissimilarity(descriptors, [still, displacement])
    return (displacement, True) if of_network < of_none else (still, False)


def _calmed(displacement: Tensor) -> Tensor:
    """Return a displacement (1, 3, D, H, W) with `_FINE_SHARE` of what it has on a finer scale than `_FINE_VOXELS`."""
    import torch

    from ..model import enlarged, shrunk

    coarse = shrunk(displacement, 2) / 2  # in its own voxels
    image = sitk.GetImageFromArray(coarse[0].movedim(0, -1).cpu().numpy(), isVector=True)
    smooth = torch.from_numpy(sitk.GetArrayFromImage(smoothed(image, [_FINE_VOXELS / 2] * 3)))
    smooth = enlarged(smooth.movedim(-1, 0)[None].to(coarse), displacement.shape[2:], 2)
    return torch.lerp(smooth, displacement, _FINE_SHARE)


def _folds(displacement: Tensor) -> bool:
    from ..model import jacobian_determinant

    return float(jacobian_determinant(displacement).min()) <= 0


def _held(descriptors: Descriptors, displacement: Tensor, grid: Grid) -> Held:
    from .problem import hold

    rise, weight, factor, taken = hold(descriptors, displacement, PUSH_MM / grid.spacing[0])
    fixed = descriptors.shrunk(factor).fixed
    tissue = fixed.tissue[0, 0, taken, taken, taken] > 0
    where = grid.shrunk(tuple(fixed.image.shape[2:])).every(taken.step, taken.start)
    return Held(*(volume.cpu().numpy() for volume in (rise, weight, tissue)), where)


def _quality(fixed, moving, grid: Grid, whole: sitk.Image, linear, initial) -> dict:
    from ..evaluation import field_metrics, field_transform

    inside = grid.image(np.ones(grid.shape, np.uint8))
    after = field_transform(whole)
    level = linear_alignment.Level.of(*_counting(fixed, moving, after)).at(grid.spacing[0]).thinned()
    # The share that is common was fitted for whole fields of view, with their air.
    whole_images = linear_alignment.Level.of(fixed.unmasked(), moving.unmasked())
    smooth = whole_images.at(_SAMPLED_MM, _LEAST_DETAIL_MM / _SAMPLED_MM)
    before = level.mutual_information(sitk.Transform(3, sitk.sitkIdentity))
    return {
        **field_metrics(whole, inside),
        "mutual_information": {
            "before": before,
            "initial": before if initial is None else level.mutual_information(initial),
            "linear": level.mutual_information(linear),
            "after": level.mutual_information(after),
        },
        "information_told": smooth.information_told(after, PUSH_MM),
        "working_grid": {"size": list(grid.size), "spacing_mm": grid.spacing[0]},
    }


def _counting(fixed: Normalized, moving: Normalized, transform: sitk.Transform) -> tuple[Normalized, Normalized]:
    """Return both images with what a mask excludes of the moving one left out where the transform takes it."""
    if moving.excluded is None:
        return fixed, moving
    there = Grid.of(fixed.image).resample(moving.excluded, transform, sitk.sitkNearestNeighbor)
    valid = fixed.valid * (there == 0)
    counts = bool(sitk.GetArrayViewFromImage(valid).any())
    return replace(fixed, valid=valid) if counts else fixed, moving.unmasked()


def _overlap(fixed: Normalized, moving: Normalized, grid: Grid, linear: sitk.Transform) -> float:
    """Return the share of the fixed image's field of view that the moving image covers, from 0 to 1."""
    nearest, grid = sitk.sitkNearestNeighbor, grid.every(2, 0)
    there = sitk.GetArrayFromImage(grid.resample(fixed.unmasked().valid, interpolator=nearest)) > 0
    covered = sitk.GetArrayFromImage(grid.resample(moving.unmasked().valid, linear, nearest)) > 0
    return float((there & covered).sum() / max(there.sum(), 1))


def _branches(prediction, grid: Grid) -> dict:
    if prediction is None or prediction.image_displacement is None:
        return {}
    grid = grid.shrunk(tuple(prediction.image_displacement.shape[2:]))

    def field_of(displacement) -> sitk.Image:
        return grid.image(grid.vectors_to_lps(displacement[0].detach().cpu().numpy()).astype(np.float32))

    fields = {
        "image_field": field_of(prediction.image_displacement),
        "gradient_field": field_of(prediction.gradient_displacement),
    }
    if prediction.gates is not None:
        fields["gates"] = tuple(grid.image(gate[0].mean(0).detach().cpu().numpy()) for gate in prediction.gates)
    return fields
