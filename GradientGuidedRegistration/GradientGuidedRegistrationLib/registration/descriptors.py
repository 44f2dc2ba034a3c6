"""What the refinement looks at: MIND-SSC descriptors of both images, and at coarse stages of their gradient maps."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ..model import gradient_magnitude, mind_ssc_descriptor, shrunk
from .sampling import Sampler

GRADIENT_WEIGHT = 0.25  # α of eq. 2
_DARK = 0.25  # of the mean of an image


@dataclass(frozen=True)
class Described:
    """What the refinement looks at of one image.

    Attributes:
        features: MIND-SSC of the image (1, 12, D, H, W); shrunk, also, times √α, that of its gradient map (1, 24, …).
        image: (1, 1, D, H, W), as `intensity.normalize` scales it.
        mask: how much a voxel counts (1, 1, D, H, W); None where all count.
    """

    features: Tensor
    image: Tensor
    mask: Tensor | None

    def shrunk(self, factor: int) -> Described:
        """Return it averaged over cubes of ``factor`` voxels."""
        mask = None if self.mask is None else shrunk(self.mask, factor)
        edges = mind_ssc_descriptor().inside(shrunk(gradient_magnitude(self.image), factor), mask)
        features = torch.cat([shrunk(self.features, factor), edges * GRADIENT_WEIGHT**0.5], dim=1)
        return Described(features, shrunk(self.image, factor), mask)

    def weight(self) -> Tensor:
        """Return the mask, or ones (1, 1, D, H, W)."""
        return torch.ones_like(self.image) if self.mask is None else self.mask

    @cached_property  # every stage asks for it
    def tissue(self) -> Tensor:
        """1 where something other than air is to be seen, and 0 elsewhere (1, 1, D, H, W).

        Air is what is much darker than the image on the mean; in a CT it is, too, what is darker than its window.
        """
        image, weight = self.image.clamp(0, 1), self.weight()
        mean = (image * weight).sum() / weight.sum().clamp_min(1e-6)
        return (image > _DARK * mean).to(image.dtype)

    @cached_property  # to lay the channels of a voxel side by side takes as long as some iterations
    def sampler(self) -> Sampler:
        """Reads features, the image cut to [0, 1] and the weight between voxels."""
        return Sampler(self.features, self.image.clamp(0, 1), self.weight())


@dataclass(frozen=True)
class Descriptors:
    """Both images of a pair, described, and what was averaged of them already."""

    fixed: Described
    moving: Described
    _averaged: dict[int, Descriptors] = field(default_factory=dict)

    @classmethod
    @torch.no_grad()
    def of(
        cls, fixed: Tensor, moving: Tensor, fixed_mask: Tensor | None = None, moving_mask: Tensor | None = None
    ) -> Descriptors:
        """Describe images (1, 1, D, H, W) on one isotropic grid; masks are 1 where an image counts."""
        describe = mind_ssc_descriptor().inside
        pair = (fixed, fixed_mask), (moving, moving_mask)
        of_fixed, of_moving = (Described(describe(image, mask), image, mask) for image, mask in pair)
        return cls(of_fixed, of_moving)

    @property
    def shape(self) -> torch.Size:
        """The (D, H, W) of both."""
        return self.fixed.image.shape[2:]

    @torch.no_grad()
    def shrunk(self, factor: int) -> Descriptors:
        """Return the pair averaged over cubes of ``factor`` voxels; averaged once, however often asked for."""
        if factor == 1:
            return self
        if factor not in self._averaged:
            self._averaged[factor] = Descriptors(self.fixed.shrunk(factor), self.moving.shrunk(factor))
        return self._averaged[factor]
