"""Phantom pairs as training cases."""

from __future__ import annotations

import torch

from .case import Case
from .intensity import normalize_ct, normalize_mr
from .phantom import LABELS, ORGANS, PhantomPair, phantom_pair
from .phantom.draws import Draws, training_seed

VALIDATION_SEED = 900_000
"""Phantoms from here on validate a training, those before are for evaluation; neither are ever trained on."""
_TURN = 15.0  # degrees; an oblique MR is seen along its own axes


class PhantomSource:
    """Endless phantoms. `source(number)` is a function of the number and of the settings alone."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        zoom: tuple[float, float],
        shapes_fraction: float,
        seed: int,
        device: torch.device,
    ):
        self.shape, self.zoom, self.shapes_fraction, self.seed, self.device = shape, zoom, shapes_fraction, seed, device

    def __call__(self, number: int) -> Case:
        """Training pair of the given number."""
        seed = training_seed("phantom", self.seed, number)
        d = Draws(training_seed("kind", self.seed, number))
        kind = "shapes" if d.chance(self.shapes_fraction) else "abdomen"
        strength = d.uniform(0.2, 1.3)
        return as_case(
            phantom_pair(
                seed, self.shape, 1.0, kind, self.device, zoom=d.uniform(*self.zoom), turn=_TURN, strength=strength
            ),
            f"phantom {seed}",
        )


def validation_phantom(index: int, shape: tuple[int, int, int], spacing: float, device: torch.device) -> Case:
    """Whole-body phantom number `index` of those kept for validation."""
    seed = VALIDATION_SEED + index
    return as_case(phantom_pair(seed, shape, spacing, "abdomen", device), f"phantom {seed}")


def as_case(pair: PhantomPair, name: str) -> Case:
    """Normalised intensities, masks and labels of a generated pair."""
    full, measured = normalize_ct(pair.moving)
    organs = {LABELS.index(organ): organ for organ in ORGANS} if set(ORGANS) <= set(pair.label_names.values()) else {}
    return Case(
        normalize_mr(pair.fixed),
        full.clamp(0, 1),
        full,
        torch.ones_like(pair.fixed),
        measured,
        pair.fixed_labels,
        pair.moving_labels,
        pair.displacement,
        (pair.spacing,) * 3,
        (name,),
        organs,
    )
