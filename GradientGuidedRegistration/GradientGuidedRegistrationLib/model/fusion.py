"""Fusion of the two branches' displacements, section 2.2.3 of the paper: averaged, or weighted by learned gates."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Gates(NamedTuple):
    """Weights in [0, 1] that a fusion gives the branches, each (B, 3, D, H, W): one a voxel and component."""

    image: Tensor
    gradient: Tensor


class AverageFusion(nn.Module):
    """φig = (φi + φg) / 2."""

    def forward(self, image_displacement: Tensor, gradient_displacement: Tensor) -> tuple[Tensor, Gates]:
        """Return φig, (B, 3, D, H, W) in voxels, and the gates, which are ½ everywhere and take no memory."""
        half = image_displacement.new_full((), 0.5).expand_as(image_displacement)
        return torch.lerp(image_displacement, gradient_displacement, 0.5), Gates(half, half)


class GatedFusion(nn.Module):
    """φig = bottleneck(concat(p_i · φi, p_g · φg)) with (p_i, p_g) = sigmoid(conv(concat(φi, φg))), Fig. 2 (b).

    The gate starts at ½ and the bottleneck as the sum of the branches, so that an untrained fusion is the average.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv3d(6, 6, kernel_size=3, padding=1)
        self.bottleneck = nn.Conv3d(6, 3, kernel_size=1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            for component in range(3):
                self.bottleneck.weight[component, component::3] = 1.0

    def forward(self, image_displacement: Tensor, gradient_displacement: Tensor) -> tuple[Tensor, Gates]:
        """Return φig, (B, 3, D, H, W) in voxels, and the gate maps p_i and p_g of the two displacements."""
        branches = torch.cat([image_displacement, gradient_displacement], dim=1)
        # Displacements stay in float32 even where the rest of the network runs in half precision.
        with torch.autocast(branches.device.type, enabled=False):
            gates = torch.sigmoid(_convolve(self.gate, branches))
            fused = _convolve(self.bottleneck, gates * branches)
        return fused, Gates(*gates.chunk(2, dim=1))


def _convolve(convolution: nn.Conv3d, displacement: Tensor) -> Tensor:
    """Apply a convolution in the type of the displacement, which may be wider than that of the weights."""
    assert convolution.bias is not None
    weight, bias = convolution.weight.to(displacement.dtype), convolution.bias.to(displacement.dtype)
    return F.conv3d(displacement, weight, bias, padding=convolution.padding)


FUSIONS: dict[str, type[nn.Module]] = {"average": AverageFusion, "gated": GatedFusion}
