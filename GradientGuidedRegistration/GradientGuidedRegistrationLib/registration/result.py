"""What a registration gives back, as one value."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import SimpleITK as sitk

from ..evaluation import field_transform
from .settings import Settings


@dataclass(frozen=True)
class Result:
    """One finished registration; nothing in it changes afterwards.

    Attributes:
        field: displacement from fixed to moving points, vector float32 in LPS mm, linear part composed, on an oriented
            grid that reaches past the fixed image's field of view and, unless the images lie far apart, fades to zero
            there.
        linear: the linear part alone, fixed to moving points; None in results of a scene where that was a field.
        inverse_field: displacement from moving to fixed points on a grid of its own, or None if it was not asked for.
        image_field, gradient_field: the fields of the two branches (φi, φg) without the linear part, LPS mm, on
            the grid that the network looked at last; None where no dual-branch network took part.
        gates: mean gate of the image branch and of the gradient branch (p_i, p_g) as scalar images, or None.
        expected_error: the error in mm that must be expected, place by place (`trust`), float32 over the working grid's
            field of view; None in results that were put together otherwise.
        quality: figures of the registration itself: similarity, folding, displacement, inverse residual, and the
            "verdict" ("good", "check", "poor") with its "reasons" in sentences.
        timings: seconds by step.
        settings: what was asked for; `device` is the device that was used.
        versions: versions of the software.
    """

    field: sitk.Image
    linear: sitk.Transform | None
    settings: Settings
    inverse_field: sitk.Image | None = None
    image_field: sitk.Image | None = None
    gradient_field: sitk.Image | None = None
    gates: tuple[sitk.Image, sitk.Image] | None = None
    expected_error: sitk.Image | None = None
    quality: dict = dataclasses.field(default_factory=dict)
    timings: dict[str, float] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def transform(self) -> sitk.Transform:
        """The transform that `SimpleITK.Resample(moving, fixed, transform)` takes."""
        return field_transform(self.field)

    def warp(self, moving: sitk.Image, fixed: sitk.Image, default: float | None = None) -> sitk.Image:
        """Return ``moving`` on the grid of ``fixed``; outside stands ``default``, or its lowest value."""
        if default is None:
            default = float(sitk.GetArrayViewFromImage(moving).min())
        return sitk.Resample(moving, fixed, self.transform, sitk.sitkLinear, default, moving.GetPixelID())

    def warp_labels(self, labels: sitk.Image, fixed: sitk.Image) -> sitk.Image:
        """Return a label map of the moving image on the grid of ``fixed``, nearest neighbour, 0 outside."""
        return sitk.Resample(labels, fixed, self.transform, sitk.sitkNearestNeighbor, 0, labels.GetPixelID())
