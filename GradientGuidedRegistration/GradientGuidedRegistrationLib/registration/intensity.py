"""Grey values of any scanner on one scale, and where an image has been measured at all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from ..evaluation.overlap import label_boxes
from .field_of_view import measured

CT_WINDOW_HU = (-200.0, 300.0)  # 0 and 1
_CT_RANGE_HU = (-700.0, 800.0)
_CT_AIR_HU = -1000.0
_CT_PADDING_HU = -1100.0
_MR_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class Normalized:
    """An image (float32) and masks (uint8) on its own grid.

    Attributes:
        image: from 0 to 1 what a soft-tissue window shows. A CT goes on past it on both sides, to -1 and 2: an edge
            against air or bone that is cut off there seems to lie elsewhere than the same edge in the other image.
        valid: what was measured and counts.
        excluded: what was measured and does not count; None for nothing.
        background: the value of air, for what lies outside the image.
    """

    image: sitk.Image
    valid: sitk.Image
    excluded: sitk.Image | None = None
    background: float = 0.0

    @property
    def windowed(self) -> sitk.Image:
        """The image cut to the soft-tissue window, [0, 1]: what networks see, and what is shown."""
        return sitk.Clamp(self.image, sitk.sitkFloat32, 0.0, 1.0)

    @property
    def counted(self) -> float:
        """The share, 0 to 1, of what was measured that counts."""
        if self.excluded is None:
            return 1.0
        counts, left_out = (int(sitk.GetArrayViewFromImage(mask).sum()) for mask in (self.valid, self.excluded))
        return counts / max(counts + left_out, 1)

    def unmasked(self) -> Normalized:
        """Return the image with all that was measured counting."""
        return self if self.excluded is None else replace(self, valid=self.valid + self.excluded, excluded=None)

    def cropped(self) -> Normalized:
        """Return the image without the rim that was not measured, which would shine into it where it is resampled.

        Nothing may be excluded yet.
        """
        box = label_boxes(self.valid).get(1)
        if box is None:
            return self
        z, y, x = box
        return replace(self, image=self.image[x, y, z], valid=self.valid[x, y, z])


def is_ct(image: sitk.Image) -> bool:
    """Say whether the values look like Hounsfield units: much air below zero, and something denser than water."""
    values = sitk.GetArrayViewFromImage(image)
    low, high = np.percentile(values[::2, ::2, ::2], (1, 99.5))
    return bool(low < -150 and high > 20)


def normalize(image: sitk.Image) -> Normalized:
    """Map the soft-tissue window of a CT, or what lies between robust percentiles of anything else, to [0, 1].

    Voxels outside the scanner's field of view (CT padding below -1100 HU, constant padding around a box) are marked
    invalid and take the value of air or background.

    Args:
        image: scalar 3-D image in scanner units, HU for a CT.
    """
    values = sitk.GetArrayFromImage(image).astype(np.float32, copy=False)
    valid = measured(image)
    if is_ct(image):
        padding = values < _CT_PADDING_HU
        valid &= ~padding
        values = np.where(padding, _CT_AIR_HU, values)
        low, high = CT_WINDOW_HU
        values = np.clip(values, *_CT_RANGE_HU)
    else:
        sample = values[valid]
        low, high = np.percentile(sample[:: max(1, sample.size // 1_000_000)], _MR_PERCENTILES)
        if high <= low:
            low, high = float(sample.min()), float(sample.max())
        values = np.clip(values, low, high)
    scaled = ((values - low) / ((high - low) or 1.0)).astype(np.float32)
    background = min(0.0, float(scaled.min()))
    return Normalized(_like(scaled, image), _like(valid.astype(np.uint8), image), background=background)


def _like(array: np.ndarray, image: sitk.Image) -> sitk.Image:
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result
