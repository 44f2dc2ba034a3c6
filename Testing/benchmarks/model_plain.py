"""The yardstick of `model_speed.py`: the same networks and descriptors as they are usually written in PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from GradientGuidedRegistrationLib.model import Prediction, RegistrationNetwork, gradient_magnitude
from GradientGuidedRegistrationLib.model.branch import VoxelMorphBranch


def plain_branch(branch: VoxelMorphBranch, images: Tensor) -> Tensor:
    """The branch with its own weights: channels first, one operation after the other. Sizes are multiples of 16."""
    features, levels = images, []
    for convolution in branch.encoder:
        levels.append(features)
        features = F.leaky_relu(_convolve(convolution, features), 0.2)
    for stage in branch.decoder:
        for convolution in stage:
            features = F.leaky_relu(_convolve(convolution, features), 0.2)
        features = torch.cat([F.interpolate(features, scale_factor=2, mode="nearest"), levels.pop()], dim=1)
    for convolution in branch.full:
        features = F.leaky_relu(_convolve(convolution, features), 0.2)
    return _convolve(branch.flow, features)


def plain_network(network: RegistrationNetwork, moving: Tensor, fixed: Tensor) -> Prediction:
    """Any of the four networks by way of `plain_branch`."""
    images = torch.cat([moving, fixed], dim=1)
    if network.name == "vm":
        return Prediction(plain_branch(network.branch, images))
    maps = torch.cat([gradient_magnitude(moving), gradient_magnitude(fixed)], dim=1)
    if network.name == "vm-concat":
        return Prediction(plain_branch(network.branch, torch.cat([images, maps], dim=1)))
    image, gradient = plain_branch(network.image_branch, images), plain_branch(network.gradient_branch, maps)
    fused, gates = network.fusion(image, gradient)
    return Prediction(fused, image, gradient, gates)


def plain_warp(image: Tensor, displacement: Tensor) -> Tensor:
    """Trilinear sampling with one call of `grid_sample`."""
    sizes = displacement.shape[2:]
    axes = torch.meshgrid(
        *(torch.arange(size, device=image.device, dtype=image.dtype) for size in sizes), indexing="ij"
    )
    points = torch.stack(axes) + displacement
    scale = torch.tensor([2 / (size - 1) for size in sizes], device=image.device).view(1, 3, 1, 1, 1)
    grid = (points * scale - 1).permute(0, 2, 3, 4, 1).flip(-1)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=True)


def plain_mind_ssc(image: Tensor) -> Tensor:
    """convexAdam's MIND-SSC, radius 1 and dilation 2."""
    from convexAdam.convex_adam_utils import MINDSSC

    return MINDSSC(image, 1, 2, image.device)


def plain_smoothness(displacement: Tensor) -> Tensor:
    """VoxelMorph's 'l2' of the gradient."""
    return sum(displacement.diff(dim=axis).square().mean() for axis in (2, 3, 4)) / 3


def _convolve(layer: torch.nn.Conv3d, features: Tensor) -> Tensor:
    return F.conv3d(features, layer.weight.contiguous(), layer.bias, stride=layer.stride, padding=layer.padding)
