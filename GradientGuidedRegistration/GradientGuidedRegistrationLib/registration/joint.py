"""Which grey values of two images go together, learnt from the pair while it is being registered."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .velocity import smoothing_matrix

_BINS = 32
_KEPT = 0.8  # of the histogram from one look to the next: each sees a part of the voxels
_UNSEEN = 1e-7  # probability of what has not been seen


class JointHistogram:
    """The joint histogram of grey values in [0, 1], and how well two of them go together."""

    def __init__(self) -> None:
        self.seen: Tensor | None = None

    def score(self, fixed: Tensor, moving: Tensor, weight: Tensor) -> Tensor:
        """Return the pointwise mutual information (P) of pairs of grey values, in nats; derivative in ``moving`` only.

        Its mean is the mutual information of the pair, and so is the derivative of its mean, as what the histogram
        itself would change cancels. Rogelj et al., Computer Vision and Image Understanding 92 (2003).

        Args:
            fixed, moving: (P).
            weight: how much each pair counts in the histogram (P).
        """
        with torch.no_grad():
            table = self._updated(fixed, moving, weight)
        places = torch.stack([2 * moving - 1, 2 * fixed - 1], dim=-1)[None, None]
        return F.grid_sample(table[None, None], places, padding_mode="border", align_corners=True)[0, 0, 0]

    def _updated(self, fixed: Tensor, moving: Tensor, weight: Tensor) -> Tensor:
        rows, columns = ((values.clamp(0, 1) * (_BINS - 1)).round().long() for values in (fixed, moving))
        counts = torch.bincount(rows * _BINS + columns, weights=weight, minlength=_BINS**2).view(_BINS, _BINS)
        now = counts.to(weight.dtype) / counts.sum().clamp_min(1e-6).to(weight.dtype)
        self.seen = now if self.seen is None else torch.lerp(now, self.seen, _KEPT)
        blur = smoothing_matrix(_BINS, 1, now)
        joint = blur @ self.seen @ blur.T + _UNSEEN
        return torch.log(joint / (joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)))
