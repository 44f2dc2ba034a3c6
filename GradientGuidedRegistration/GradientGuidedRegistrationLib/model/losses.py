"""The objective of the paper, eqs. 2, 3 and 5, for each of its networks: one object, each term by its name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .checks import check_same_grid, check_volume
from .descriptors import DESCRIPTORS
from .gradient import gradient_magnitude
from .network import Prediction
from .regularity import REGULARITIES
from .self_similarity import Descriptor
from .transformer import warp


@dataclass(frozen=True)
class LossTerms:
    """The value of the objective and of its terms before they are weighted, all scalar tensors.

    total: eq. 2.
    terms: "image_similarity" and "smoothness", and for dual-branch networks "gradient_similarity" and
        "gradient_smoothness": L_isim, L_igreg, L_gsim and L_greg.
    """

    total: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class RegistrationLoss:
    """L = L_isim + α·L_gsim + γ·L_igreg + β·L_greg, eq. 2; a network of a single branch has L_isim + γ·L_igreg.

    alpha, beta, gamma: weights of the gradient similarity, of the gradient field's and of the final field's
        roughness.
    descriptor: "mind" (eq. 4) or "mind-ssc"; their mean absolute difference is the similarity, eq. 5.
    descriptor_options: radius and dilation, for example; empty for the descriptor's own.
    regularity: "mean-squared", or "sum-of-norms" for eq. 3 to the letter.

    Raises `InputError` for an unknown descriptor or regularity and for a negative weight.
    """

    alpha: float = 0.5
    beta: float = 0.5
    gamma: float = 1.0
    descriptor: str = "mind-ssc"
    descriptor_options: dict = field(default_factory=dict)
    regularity: str = "mean-squared"

    def __post_init__(self) -> None:
        for name, table in (("descriptor", DESCRIPTORS), ("regularity", REGULARITIES)):
            if getattr(self, name) not in table:
                raise InputError(f"{name} must be one of {sorted(table)}, but is {getattr(self, name)!r}.")
        if min(self.alpha, self.beta, self.gamma) < 0:
            raise InputError(f"The weights {self.alpha}, {self.beta}, {self.gamma} must not be negative.")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> RegistrationLoss:
        """Return the objective of a preset, "paper-abdomen", "paper-kidney" or "default", with `changes` to it.

        Raises:
            InputError: an unknown preset, or a value that cannot be.
        """
        if name not in PRESETS:
            raise InputError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
        return replace(PRESETS[name], **changes)

    def __call__(self, prediction: Prediction, moving: Tensor, fixed: Tensor, **masks: Tensor | None) -> LossTerms:
        """Return the objective of a prediction for a pair; `masks` as for `of_pair`."""
        return self.of_pair(moving, fixed, **masks)(prediction)

    def of_pair(
        self, moving: Tensor, fixed: Tensor, *, fixed_mask: Tensor | None = None, moving_mask: Tensor | None = None
    ) -> PairObjective:
        """Return the objective for one pair, to be called on many predictions: what does not change is computed once.

        Args:
            moving, fixed: (B, 1, D, H, W) in [0, 1].
            fixed_mask, moving_mask: (B, 1, D, H, W), weights in [0, 1]: only where both are above zero, after the
                moving one is warped, do the images count. The smoothness counts everywhere.

        Raises:
            InputError: shapes that do not match.
        """
        check_volume("moving image", moving, 1)
        check_volume("fixed image", fixed, 1)
        check_same_grid("moving image", moving, "fixed image", fixed)
        for name, mask in (("fixed mask", fixed_mask), ("moving mask", moving_mask)):
            if mask is not None:
                check_volume(name, mask, 1)
                check_same_grid("fixed image", fixed, name, mask)
        return PairObjective(self, _constant(moving), _constant(fixed), fixed_mask, moving_mask)

    def build_descriptor(self) -> Descriptor:
        """The descriptor with the options of this objective."""
        return DESCRIPTORS[self.descriptor](**self.descriptor_options)


def _constant(image: Tensor) -> Tensor:
    return image.detach().to(torch.promote_types(image.dtype, torch.float32))


class PairObjective:
    """A `RegistrationLoss` for one pair of images; holds the fixed image's descriptors. Made by `of_pair`."""

    def __init__(
        self,
        loss: RegistrationLoss,
        moving: Tensor,
        fixed: Tensor,
        fixed_mask: Tensor | None,
        moving_mask: Tensor | None,
    ) -> None:
        self.loss, self.moving, self.fixed = loss, moving, fixed
        self.descriptor = loss.build_descriptor()
        self.fixed_mask, self.moving_mask = fixed_mask, moving_mask

    def __call__(self, prediction: Prediction) -> LossTerms:
        """Return the total and the terms for a prediction; differentiable in its displacements."""
        loss = self.loss
        roughness = REGULARITIES[loss.regularity]
        terms = {
            "image_similarity": self.image_similarity(prediction.displacement),
            "smoothness": roughness(prediction.displacement),
        }
        total = terms["image_similarity"] + loss.gamma * terms["smoothness"]
        if prediction.gradient_displacement is not None:
            terms["gradient_similarity"] = self.gradient_similarity(prediction.gradient_displacement)
            terms["gradient_smoothness"] = roughness(prediction.gradient_displacement)
            total = total + loss.alpha * terms["gradient_similarity"] + loss.beta * terms["gradient_smoothness"]
        return LossTerms(total, terms)

    @cached_property
    def fixed_features(self) -> Tensor:
        """Descriptors of the fixed image."""
        return self.descriptor(self.fixed)

    @cached_property
    def moving_gradient(self) -> Tensor:
        """Gradient map of the moving image, which φg warps: eq. 5 does not take the gradient of a warped image."""
        return gradient_magnitude(self.moving)

    @cached_property
    def fixed_gradient_features(self) -> Tensor:
        """Descriptors of the fixed image's gradient map."""
        return self.descriptor(gradient_magnitude(self.fixed))

    def image_similarity(self, displacement: Tensor) -> Tensor:
        """L_isim of eq. 5: the warped moving image against the fixed one; lower is more alike."""
        return self._difference(self.moving, displacement, self.fixed_features)

    def gradient_similarity(self, displacement: Tensor) -> Tensor:
        """L_gsim of eq. 5: the warped gradient map of the moving image against that of the fixed one."""
        return self._difference(self.moving_gradient, displacement, self.fixed_gradient_features)

    def _difference(self, moving: Tensor, displacement: Tensor, fixed_features: Tensor) -> Tensor:
        return self.descriptor.difference(warp(moving, displacement), fixed_features, self._weight(displacement))

    def _weight(self, displacement: Tensor) -> Tensor | None:
        """Return by how much each voxel of the fixed grid counts, (B, 1, D, H, W), or None if all count."""
        moving_weight = None if self.moving_mask is None else warp(self.moving_mask, displacement).detach()
        if self.fixed_mask is None or moving_weight is None:
            return moving_weight if self.fixed_mask is None else self.fixed_mask
        return self.fixed_mask * moving_weight


PRESETS: dict[str, RegistrationLoss] = {
    "paper-abdomen": RegistrationLoss(alpha=0.5, beta=0.5, gamma=1.0, descriptor="mind"),
    "paper-kidney": RegistrationLoss(alpha=0.4, beta=0.3, gamma=0.8, descriptor="mind"),
    "default": RegistrationLoss(),
}
