"""CTs of patients with an MR rendered from each: real anatomy and, unlike between two scans, a truth that is exact."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from other_phantoms import unit_noise
from scipy import ndimage

# signal of a pulse sequence at Hounsfield units: air, skin's border, fat, fat with fibres, water, muscle, muscle with
# contrast agent, marrow, spongy bone, compact bone, metal
_HOUNSFIELD = (-1000, -300, -120, -60, 0, 40, 80, 160, 300, 700, 1500)
_SIGNAL = {
    "T1": (0.0, 0.02, 1.0, 0.9, 0.35, 0.45, 0.55, 0.7, 0.45, 0.08, 0.02),
    "T2": (0.0, 0.02, 0.75, 0.7, 1.0, 0.35, 0.5, 0.6, 0.4, 0.1, 0.02),
    "water": (0.0, 0.02, 0.1, 0.2, 0.9, 0.8, 0.7, 0.75, 0.4, 0.1, 0.02),  # Dixon's
}
SEQUENCES = tuple(_SIGNAL)
_BODY_HU = -250
_LOUDEST = 600.0  # grey values
_NOISE = 15.0
_TEXTURE, _TEXTURE_MM = 0.08, 8.0  # of the tissue, nothing of which is in the CT
_BIAS, _BIAS_MM = 0.2, 60.0  # of the logarithm, by the coil
_BLUR_MM = 0.6


def rendered_mr(ct: sitk.Image, sequence: str, seed: int) -> sitk.Image:
    """Return an MR (float32) on the grid of a CT in HU, which it shares neither noise nor table with.

    Args:
        sequence: one of `SEQUENCES`.
    """
    random = np.random.default_rng(seed)
    quiet = sitk.CurvatureFlow(sitk.Median(sitk.Cast(ct, sitk.sitkFloat32), (1, 1, 0)), 0.0625, 8)
    values = sitk.GetArrayFromImage(quiet)
    spacing = np.array(ct.GetSpacing())[::-1]

    def noise(width_mm: float) -> np.ndarray:
        return unit_noise(random, values.shape, width_mm / spacing)

    signal = np.interp(values, _HOUNSFIELD, _SIGNAL[sequence]) * _body(values) * (1 + _TEXTURE * noise(_TEXTURE_MM))
    signal = _LOUDEST * ndimage.gaussian_filter(signal, _BLUR_MM / spacing) * np.exp(_BIAS * noise(_BIAS_MM))
    real, imaginary = _NOISE * random.normal(size=(2, *values.shape))
    mr = sitk.GetImageFromArray(np.hypot(signal + real, imaginary).astype(np.float32))
    mr.CopyInformation(ct)
    return mr


def _body(values: np.ndarray) -> np.ndarray:
    """Return where the patient is (D, H, W), bowel and lungs included, from Hounsfield units."""
    parts, _ = ndimage.label(ndimage.binary_opening(values > _BODY_HU, iterations=2))
    largest = 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return np.stack([ndimage.binary_fill_holes(layer) for layer in parts == largest])
