"""The networks of the paper: two images in, a displacement out. `DualBranchNetwork` is Fig. 2 (a)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError
from .branch import BACKBONES
from .checks import check_finite, check_same_grid, check_volume
from .fusion import FUSIONS, GatedFusion, Gates
from .gradient import gradient_magnitude
from .transformer import warp


@dataclass(frozen=True)
class Prediction:
    """What a network says of a pair. Displacements and gates are (B, 3, D, H, W), displacements in voxels.

    displacement: φ of a single branch, φig of the dual-branch network; warped(x) = moving(x + φ(x)).
    image_displacement, gradient_displacement, gates: φi, φg and (p_i, p_g); None for a single branch.
    moving_gradient, fixed_gradient: the gradient maps gCT and gMR, (B, C, D, H, W); None where the network uses none.
    """

    displacement: Tensor
    image_displacement: Tensor | None = None
    gradient_displacement: Tensor | None = None
    gates: Gates | None = None
    moving_gradient: Tensor | None = None
    fixed_gradient: Tensor | None = None

    def warp(self, moving: Tensor, mode: str = "bilinear") -> Tensor:
        """The spatial transformer: return `moving` (B, C, D, H, W) as it looks on the fixed image's grid."""
        return warp(moving, self.displacement, mode)


class RegistrationNetwork(nn.Module):
    """The contract of every network here: `network(moving, fixed)` returns a `Prediction`.

    `coarse_passes` says how it is meant to be used: by which factors the images are shrunk for the passes that go
    before the one at full resolution, see `passes.register_in_passes`.

    Both images are (B, C, D, H, W) of one size, any size, with intensities in [0, 1] and C = `image_channels`.

    Raises `InputError` on wrong shapes always, and on NaN or infinity where looking costs no wait: on the CPU, and on
    a GPU outside of training mode.
    """

    coarse_passes: tuple[int, ...] = ()

    def __init__(self, image_channels: int = 1, backbone: str = "b") -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise InputError(f"backbone must be one of {sorted(BACKBONES)}, but is {backbone!r}.")
        self.image_channels = image_channels
        self.options = {"image_channels": image_channels, "backbone": backbone}

    def forward(self, moving: Tensor, fixed: Tensor) -> Prediction:
        """Check both images and predict; see the contract of the class."""
        self._check(moving, fixed)
        kind = next(self.parameters()).dtype
        return self.predict(moving.to(kind), fixed.to(kind))

    def predict(self, moving: Tensor, fixed: Tensor) -> Prediction:
        """What a network does with images that are checked and of its parameters' type."""
        raise NotImplementedError

    def last_biases(self) -> list[nn.Parameter]:
        """The parameters (3,) in voxels that, changed by a constant each, change every displacement by it."""
        raise NotImplementedError

    def _check(self, moving: Tensor, fixed: Tensor) -> None:
        for name, image in (("moving image", moving), ("fixed image", fixed)):
            check_volume(name, image, self.image_channels)
            if image.device.type == "cpu" or not self.training:
                check_finite(name, image)
        check_same_grid("moving image", moving, "fixed image", fixed)
        if moving.shape[0] != fixed.shape[0]:
            raise InputError(
                f"moving and fixed image must have equal batches, "
                f"but their shapes are {tuple(moving.shape)} and {tuple(fixed.shape)}."
            )


class DualBranchNetwork(RegistrationNetwork):
    """Image branch and gradient branch, fused: «Ours (gated)» and «Ours (average)» of Table 1."""

    def __init__(self, fusion: str = "gated", image_channels: int = 1, backbone: str = "b") -> None:
        super().__init__(image_channels, backbone)
        self.image_branch = BACKBONES[backbone](2 * image_channels)
        self.gradient_branch = BACKBONES[backbone](2 * image_channels)
        self.fusion = FUSIONS[fusion]()

    def predict(self, moving: Tensor, fixed: Tensor) -> Prediction:
        """Fig. 2 (a): a branch for the images, one for their gradient maps, and the fusion of what they say."""
        moving_gradient, fixed_gradient = gradient_magnitude(moving), gradient_magnitude(fixed)

        image_displacement = self.image_branch(torch.cat([moving, fixed], dim=1))
        gradient_displacement = self.gradient_branch(torch.cat([moving_gradient, fixed_gradient], dim=1))

        displacement, gates = self.fusion(image_displacement, gradient_displacement)
        return Prediction(
            displacement, image_displacement, gradient_displacement, gates, moving_gradient, fixed_gradient
        )

    def last_biases(self) -> list[nn.Parameter]:
        """That of the gated fusion; without one, those of both branches."""
        if isinstance(self.fusion, GatedFusion):
            return [self.get_parameter("fusion.bottleneck.bias")]
        return [self.get_parameter(f"{branch}.flow.bias") for branch in ("image_branch", "gradient_branch")]


class SingleBranchNetwork(RegistrationNetwork):
    """The mono-branch baselines of Table 1: «VM» sees the two images, «VM (concat)» their gradient maps as well."""

    def __init__(self, with_gradients: bool = False, image_channels: int = 1, backbone: str = "b") -> None:
        super().__init__(image_channels, backbone)
        self.with_gradients = with_gradients
        self.branch = BACKBONES[backbone]((4 if with_gradients else 2) * image_channels)

    def predict(self, moving: Tensor, fixed: Tensor) -> Prediction:
        """One branch on all that it is to see."""
        if not self.with_gradients:
            return Prediction(self.branch(torch.cat([moving, fixed], dim=1)))
        moving_gradient, fixed_gradient = gradient_magnitude(moving), gradient_magnitude(fixed)
        displacement = self.branch(torch.cat([moving, fixed, moving_gradient, fixed_gradient], dim=1))
        return Prediction(displacement, moving_gradient=moving_gradient, fixed_gradient=fixed_gradient)

    def last_biases(self) -> list[nn.Parameter]:
        """That of the branch."""
        return [self.get_parameter("branch.flow.bias")]
