"""What the network sees in a step when it is trained for two passes, coarse and fine (see `model.passes`)."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..model import RegistrationNetwork, enlarged, shrunk, warp
from .case import Case
from .phantom.draws import Draws, training_seed


def seen_in_step(case: Case, network: RegistrationNetwork, step: int, seed: int) -> Case:
    """Return the pair at half resolution in even steps, and in odd ones a crop of what that pass leaves of it.

    Args:
        case: images and masks without labels, (B, 1, D, H, W).
        network: makes the coarse pass, without a gradient.
        step, seed: decide where the crop lies.

    Returns:
        A case of half the size along each axis (rounded up).
    """
    coarse = replace(case, **{name: shrunk(volume, 2) for name, volume in case.tensors().items()})  # type: ignore[arg-type]
    if step % 2 == 0:
        return coarse
    shape = tuple(case.fixed.shape[2:])
    with torch.no_grad():
        displacement = enlarged(network(coarse.moving, coarse.fixed).displacement, shape, 2)
    d = Draws(training_seed("place", seed, step))
    starts = [d.integer(0, n - size) for n, size in zip(shape, coarse.fixed.shape[2:])]
    depth, height, width = (slice(start, start + size) for start, size in zip(starts, coarse.fixed.shape[2:]))
    left = {
        name: (warp(volume, displacement) if name.startswith("moving") else volume)[..., depth, height, width]
        for name, volume in case.tensors().items()
    }
    return replace(case, **left)  # type: ignore[arg-type]
