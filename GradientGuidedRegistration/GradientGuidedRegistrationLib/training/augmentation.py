"""Variations of a pair that keep it a pair: flips, contrast, fields of view that end within the volume, and for own
files a small warp of the moving image.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..model import exponentiate, warp
from .case import Case, background
from .phantom.draws import Draws


def augmented(case: Case, d: Draws, with_warp: bool) -> Case:
    """A random variation of the case; the draws decide which."""
    case = flipped(case, [axis for axis in range(3) if d.chance(0.5)])
    case = replace(case, fixed=_contrast(case.fixed, d), moving=_contrast(case.moving, d))
    if with_warp and d.chance(0.7):
        case = _warped(case, d)
    for image, probability in (("fixed", 0.15), ("moving", 0.3)):
        if d.chance(probability):
            case = _cut(case, image, d)
    return case


def flipped(case: Case, axes: list[int]) -> Case:
    """The case mirrored along spatial axes; a true field is mirrored with it."""
    if not axes:
        return case
    turned: dict[str, Any] = {name: value.flip([axis + 2 for axis in axes]) for name, value in case.tensors().items()}
    if "displacement" in turned:
        signs = torch.tensor([-1.0 if axis in axes else 1.0 for axis in range(3)], device=case.fixed.device)
        turned["displacement"] = turned["displacement"] * signs.view(1, 3, 1, 1, 1)
    return replace(case, **turned)


def _cut(case: Case, image: str, d: Draws) -> Case:
    """The case with nothing measured of one image beyond a plane: up to a third of the volume."""
    seen = getattr(case, image)
    mask = getattr(case, f"{image}_mask")
    axis = d.integer(2, 4)
    kept = seen.shape[axis] - round(d.uniform(0.05, 0.33) * seen.shape[axis])
    positions = torch.arange(seen.shape[axis], device=seen.device)
    inside = (positions if d.chance(0.5) else positions.flip(0)) < kept
    measured = torch.ones_like(seen) * inside.view([-1 if a == axis else 1 for a in range(5)])
    cut: dict[str, Any] = {image: seen * measured, f"{image}_mask": measured if mask is None else mask * measured}
    if image == "moving":
        cut["moving_full"] = case.moving_full.where(measured > 0, background(case.moving_full))
    return replace(case, **cut)


def _contrast(image: torch.Tensor, d: Draws) -> torch.Tensor:
    return image.clamp_min(1e-6) ** d.uniform(0.7, 1.4)


def _warped(case: Case, d: Draws) -> Case:
    shape = case.fixed.shape[2:]
    field = exponentiate(d.uniform(0.3, 2.0) * d.smooth(3, d.choice((4, 6)), shape), steps=5)
    images: dict[str, Any] = {name: warp(getattr(case, name), field) for name in ("moving", "moving_full")}
    if case.moving_mask is not None:
        images["moving_mask"] = warp(case.moving_mask, field)
    if case.moving_labels is not None:
        images["moving_labels"] = warp(case.moving_labels.float(), field, mode="nearest").to(case.moving_labels.dtype)
    return replace(case, **images, displacement=None)
