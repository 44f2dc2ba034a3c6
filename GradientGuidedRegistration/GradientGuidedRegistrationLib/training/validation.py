"""How good a network is on cases with labels: Dice, ASD, folding, and the field's error where the truth is known."""

from __future__ import annotations

import math

import torch

from ..model import jacobian_determinant, warp
from .case import Case


@torch.no_grad()
def score(displacement: torch.Tensor, case: Case, distances: bool = True) -> dict[str, float | None]:
    """Figures of one predicted field (1, 3, D, H, W) in voxels.

    Returns:
        dice: mean over the labels, and "dice <label>" for each; asd_mm likewise, None where SimpleITK is missing or
        `distances` is False; folding_percent; tre_mm: mean distance from the true field within the body, None where
        there is no truth.
    """
    found: dict[str, float | None] = {"dice": None, "asd_mm": None, "tre_mm": None}
    found["folding_percent"] = 100.0 * float((jacobian_determinant(displacement) <= 0).float().mean())
    if case.fixed_labels is not None and case.moving_labels is not None and case.label_names:
        warped = warp(case.moving_labels.float(), displacement, mode="nearest").round().to(torch.int64)
        fixed = case.fixed_labels.to(torch.int64)
        for value, name in case.label_names.items():
            a, b = fixed == value, warped == value
            total = int(a.sum() + b.sum())
            if total:
                found[f"dice {name}"] = 2.0 * int((a & b).sum()) / total
                if distances:
                    found[f"asd_mm {name}"] = _average_surface_distance(a, b, case.spacing)
        found["dice"] = _mean([v for n, v in found.items() if n.startswith("dice ")])
        found["asd_mm"] = _mean([v for n, v in found.items() if n.startswith("asd_mm ")])
    if case.displacement is not None:
        body = (
            (case.fixed_labels[0, 0] > 0) if case.fixed_labels is not None else torch.ones_like(case.fixed[0, 0]).bool()
        )
        scale = torch.tensor(case.spacing, device=displacement.device).view(3, 1, 1, 1)
        error = ((displacement - case.displacement)[0] * scale).norm(dim=0)
        found["tre_mm"] = float(error[body].mean()) if bool(body.any()) else None
    return found


def mean_scores(rows: list[dict[str, float | None]]) -> dict[str, float | None]:
    """The mean of each figure over the cases that have it."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: _mean([row.get(name) for row in rows]) for name in names}


def goodness(figures: dict[str, float | None]) -> float:
    """What the best weights are chosen by: Dice where there are labels, the objective where there are none."""
    dice, loss = figures.get("dice"), figures["loss"]
    return dice if dice is not None else -float(loss or 0.0)


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None and math.isfinite(v)]
    return sum(known) / len(known) if known else None


def _average_surface_distance(
    fixed: torch.Tensor, moving: torch.Tensor, spacing: tuple[float, float, float]
) -> float | None:
    """ASD in mm by the evaluation's own measure, around the structure only; None without SimpleITK."""
    try:
        from ..evaluation.overlap import mask_metrics
    except ImportError:  # a bare training machine
        return None
    either = (fixed | moving)[0, 0]
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in either.nonzero(as_tuple=True))
    return mask_metrics(fixed[0, 0][box].cpu().numpy(), moving[0, 0][box].cpu().numpy(), spacing[::-1])["asd_mm"]
