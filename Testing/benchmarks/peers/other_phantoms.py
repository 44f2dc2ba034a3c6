"""Phantoms of another kind than those of the training: ellipsoids, tubes and a wall, each with a grey value of its own.

Nothing but the random fields of `known_warps` is shared with the phantoms of the training. The smoothness of a
refinement was chosen on the numbers 300 to 303, 400 to 405 and 900 to 910. Most of a phantom is without structure. The
deformations are strong and on a small scale, or the content of the abdomen glides along its wall.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from known_warps import smooth_field
from scipy import ndimage

from GradientGuidedRegistrationLib.registration.grid import Grid
from GradientGuidedRegistrationLib.training.phantom import LABELS

SHAPE = (128, 144, 144)  # voxels of 1 mm, (D, H, W)
_GRID = Grid(SHAPE[::-1], (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
_FAT, _MUSCLE, _CAVITY, _LIVER, _SPLEEN, _KIDNEYS, _STOMACH, _BOWEL, _BONE, _CORD, _AORTA, _VESSELS = range(1, 13)
_LABELS = [0, *map(LABELS.index, ("fat", "muscle", "fat", "liver", "spleen", "kidneys", "stomach", "bowel", "spine",
                                  "spine", "aorta", "liver"))]  # fmt: skip
_HOUNSFIELD = (-1000, -100, 50, -60, 95, 110, 140, 150, 20, 400, 30, 160, 150)
_ORGANS = (
    # tissue, centre (mm from the middle; D, H, W), semi-axes (mm)
    (_LIVER, (10, -5, -26), (26, 22, 24)),
    (_SPLEEN, (16, 6, 30), (15, 13, 10)),
    (_KIDNEYS, (-14, 14, -24), (16, 9, 9)),
    (_KIDNEYS, (-12, 14, 24), (16, 9, 9)),
    (_STOMACH, (-2, -18, 20), (14, 12, 14)),
)
_LOOPS = 6  # of bowel
_OUTLINE = 14  # mm, of the skin's unevenness
_CAVITY_RADIUS = 0.74  # of the skin's
_BACK = 0.22 * SHAPE[1]  # mm, of the spine behind the middle
_BEFORE_SPINE = 14  # mm, of what glides
_TEXTURE = 2.5  # mm, seen in both images


class OtherPhantom(NamedTuple):
    """A pair in LPS mm, its labels, and the transform from fixed to moving points."""

    fixed: sitk.Image
    moving: sitk.Image
    fixed_labels: sitk.Image
    moving_labels: sitk.Image
    truth: sitk.Transform


def other_phantom(seed: int) -> OtherPhantom:
    """Return phantom number `seed`: the CT is the body at rest, the MR shows it deformed by 9 to 15 mm."""
    random = np.random.default_rng(seed)
    body = _body(random, _noise(random, _OUTLINE))
    amplitude, width = random.uniform(9, 15), random.uniform(16, 26)
    field = smooth_field(_GRID, amplitude, width, seed)
    return _pair(random, body, field)


def sliding_phantom(seed: int) -> OtherPhantom:
    """Return phantom number `seed`: what lies before the spine glides by 8 to 14 mm along a wall that stays.

    At the wall the displacement jumps; head- and footwards the gliding fades away. A smooth warp of 4 mm comes on top.
    """
    random = np.random.default_rng(seed)
    outline = unit_noise(random, SHAPE[1:], _OUTLINE)
    body = _body(random, outline)
    z, y, _ = _places()
    glides = (_radius(outline) < _CAVITY_RADIUS) & (y < _BACK - _BEFORE_SPINE)
    field = smooth_field(_GRID, 4.0, 24.0, seed)
    vectors = sitk.GetArrayFromImage(field)
    vectors[..., 2] += glides * random.uniform(8, 14) * random.choice([-1, 1]) * np.exp(-((z / 38) ** 2))
    return _pair(random, body, _GRID.image(vectors))


def _pair(random: np.random.Generator, body: np.ndarray, field: sitk.Image) -> OtherPhantom:
    """Return the CT of a body (tissues, (D, H, W)) at rest and its MR as a displacement field (mm) shows it."""
    moving_labels = _GRID.image(np.array(_LABELS, np.uint8)[body])
    truth = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    texture = _noise(random, _TEXTURE)
    ct = np.array(_HOUNSFIELD, float)[body] + 8 * texture * (body > 0)
    ct = ndimage.gaussian_filter(ct, 0.6) + 15 * random.normal(size=SHAPE)
    signal = np.array([0.0, *random.uniform(60, 900, len(_HOUNSFIELD) - 1)])[body] * (1 - 0.06 * texture)
    deformed = sitk.Resample(sitk.GetImageFromArray(signal), moving_labels, truth, sitk.sitkLinear, 0.0)
    mr = ndimage.gaussian_filter(sitk.GetArrayFromImage(deformed), 0.7) * np.exp(0.25 * _noise(random, 40))
    mr = np.hypot(mr + 18 * random.normal(size=SHAPE), 18 * random.normal(size=SHAPE))
    return OtherPhantom(
        sitk.GetImageFromArray(mr.astype(np.float32)),
        sitk.GetImageFromArray(np.round(ct).astype(np.int16)),
        sitk.Resample(moving_labels, moving_labels, truth, sitk.sitkNearestNeighbor, 0),
        moving_labels,
        truth,
    )


def _places() -> list[np.ndarray]:
    """Return how far voxels lie from the middle along D, H, W."""
    return np.meshgrid(*[np.arange(n) - n / 2 for n in SHAPE], indexing="ij")


def _radius(outline: np.ndarray) -> np.ndarray:
    """Return how far out voxels lie, 1 at the skin; `outline` (mean 0, standard deviation 1) makes it uneven."""
    _, y, x = _places()
    return np.hypot(x / (0.44 * SHAPE[2]), y / (0.36 * SHAPE[1])) * (1 + 0.06 * outline)


def _body(random: np.random.Generator, outline: np.ndarray) -> np.ndarray:
    """Return tissues (D, H, W): a wall of fat and muscle, organs in a cavity, a spine with cord and aorta."""
    z, y, x = _places()
    tissues = np.zeros(SHAPE, np.uint8)
    radius = _radius(outline)
    for tissue, edge in ((_FAT, 1.0), (_MUSCLE, 0.86), (_CAVITY, _CAVITY_RADIUS)):
        tissues[radius < edge] = tissue

    def put(tissue: int, centre: tuple, axes: tuple, into: int = _MUSCLE) -> None:
        square = sum(((place - c) / a) ** 2 for place, c, a in zip((z, y, x), centre, axes, strict=True))
        inside = square < 1 + 0.15 * _noise(random, 6)
        tissues[inside & (tissues == into if into == _CAVITY else tissues >= into)] = tissue

    for tissue, centre, axes in _ORGANS:
        put(tissue, centre, axes)
    for _ in range(_LOOPS):
        centre = (random.uniform(-40, 40), random.uniform(-20, 10), random.uniform(-30, 30))
        put(_BOWEL, centre, tuple(random.uniform(5, 11, 3)), into=_CAVITY)
    spine = np.hypot(x - 3 * np.sin(z / 30), y - _BACK) < 10
    tissues[spine] = np.where(np.mod(z, 22) < 18, _BONE, _MUSCLE)[spine]
    tissues[np.hypot(x - 3 * np.sin(z / 30), y - _BACK - 13) < 5] = _CORD
    tissues[np.hypot(x + 6 + 3 * np.sin(z / 25), y - _BACK + 18) < 6] = _AORTA
    branches = (np.abs(_noise(random, 5)) < 0.22) & (np.abs(_noise(random, 5)) < 0.22)
    tissues[(tissues == _LIVER) & branches] = _VESSELS
    return tissues


def unit_noise(random: np.random.Generator, shape: tuple[int, ...], width: float | np.ndarray) -> np.ndarray:
    """Return smooth noise of a shape, standard deviation 1 and a mean near 0; `width` of the Gaussian in voxels."""
    values = ndimage.gaussian_filter(random.normal(size=shape), width)
    return values / values.std()


def _noise(random: np.random.Generator, width: float) -> np.ndarray:
    """Return smooth noise (D, H, W) of mean 0 and standard deviation 1; `width` of the Gaussian in mm."""
    values = ndimage.gaussian_filter(random.normal(size=SHAPE), width)
    return (values - values.mean()) / values.std()
