"""Images to take slices of: an image, the transform that brings it to the fixed image, and how it is interpolated."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from ..registration.intensity import CT_WINDOW_HU, is_ct
from .views import SliceView

SOFT_TISSUE_HU = (-160.0, 240.0)


@dataclass(frozen=True)
class Volume:
    """An image that slices are taken of.

    Attributes:
        image: scalar or vector image, LPS.
        transform: maps points of the picture to points of the image, as in `SimpleITK.Resample`; None for identity.
        nearest: True for labels and for maps of which no voxel may be averaged away.
        window: grey values shown as black and as white.
        within: an image outside of which there is nothing to show: the fixed image, for what was registered to it.
    """

    image: sitk.Image
    transform: sitk.Transform | None = None
    nearest: bool = False
    window: tuple[float, float] = (0.0, 1.0)
    within: sitk.Image | None = None
    _latest: dict[SliceView, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def slice(self, view: SliceView) -> np.ndarray:
        """Values (height, width) or (height, width, 3), float32, not to be written to; NaN outside the image.

        The latest one is kept: the layers of a panel ask for it one after the other.
        """
        if view not in self._latest:
            values = self._sample(view)
            values.flags.writeable = False
            self._latest.clear()
            self._latest[view] = values
        return self._latest[view]

    def _sample(self, view: SliceView) -> np.ndarray:
        pixel = sitk.sitkVectorFloat32 if self.image.GetNumberOfComponentsPerPixel() > 1 else sitk.sitkFloat32
        picture = sitk.Resample(
            self.image,
            view.reference(),
            self.transform or sitk.Transform(3, sitk.sitkIdentity),
            sitk.sitkNearestNeighbor if self.nearest else sitk.sitkLinear,
            float("nan"),
            pixel,
        )
        values = sitk.GetArrayFromImage(picture)[0]
        values[~self.visible(view)] = np.nan
        return values

    def visible(self, view: SliceView) -> np.ndarray:
        """Which pixels (height, width) `within` leaves to be seen."""
        if self.within is None:
            return np.ones(view.size[::-1], bool)
        return inside(self.within, view)

    def grey(self, view: SliceView) -> np.ndarray:
        """The slice through the window, float32 (height, width) in [0, 255]; 0 outside the image."""
        low, high = self.window
        values = np.nan_to_num(self.slice(view), nan=low)
        return np.clip((values - low) / (high - low), 0, 1) * np.float32(255)


def inside(image: sitk.Image, view: SliceView) -> np.ndarray:
    """Which pixels (height, width) lie in a voxel of `image`."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    index = (view.points() - image.GetOrigin()) @ direction / image.GetSpacing()
    return ((index >= -0.5) & (index <= np.array(image.GetSize()) - 0.5)).all(axis=-1)


def display_window(image: sitk.Image) -> tuple[float, float]:
    """Grey values for black and white: a soft-tissue window for CT, robust percentiles of the foreground otherwise."""
    if is_ct(image):
        return SOFT_TISSUE_HU
    return _percentiles(image, 1.0, 99.5)


def gradient_volume(image: sitk.Image, spacing_mm: float, transform: sitk.Transform | None = None) -> Volume:
    """Gradient map (eq. 1 of the paper, per mm) of the normalised image, averaged down to about `spacing_mm` first.

    CT is clipped to soft tissue and anything else to robust percentiles, as for the registration itself.
    """
    low, high = CT_WINDOW_HU if is_ct(image) else _percentiles(image, 0.5, 99.5)
    small = shrink(image, spacing_mm)
    small = sitk.IntensityWindowing(sitk.Cast(small, sitk.sitkFloat32), low, high, 0.0, 1.0)
    gradient = sitk.GradientMagnitude(small)
    values = sitk.GetArrayViewFromImage(gradient)
    return Volume(
        gradient,
        transform,
        window=(0.0, float(max(np.percentile(values[values > 0], 98), 1e-6)) if (values > 0).any() else 1.0),
    )


def shrink(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Average blocks of voxels so that the spacing comes up to, but not over, `spacing_mm` where it is finer."""
    factors = [max(1, int(spacing_mm / own + 0.01)) for own in image.GetSpacing()]
    factors = [min(factor, size) for factor, size in zip(factors, image.GetSize(), strict=True)]
    if all(factor == 1 for factor in factors):
        return image
    if min(image.GetSize()[a] // factors[a] for a in range(3)) < 2:
        return image
    return sitk.BinShrink(image, factors)


def _percentiles(image: sitk.Image, low: float, high: float) -> tuple[float, float]:
    """Robust range of the values above the smallest one, which is what empty space has."""
    values = sitk.GetArrayViewFromImage(image)
    step = max(1, int(round((values.size / 1e6) ** (1 / 3))))
    sample = values[::step, ::step, ::step].ravel()
    foreground = sample[sample > sample.min()]
    if foreground.size == 0:
        return float(sample.min()), float(sample.min()) + 1.0
    lower, upper = np.percentile(foreground, (low, high))
    return float(lower), float(max(upper, lower + 1e-6))
