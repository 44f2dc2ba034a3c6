"""The VoxelMorph branch: stacked images in, displacement out (Balakrishnan et al. 2018; section 2.2.1 of the paper)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .folding import folded

FLOW_DEVIATION = 1e-5


@dataclass(frozen=True)
class BranchShape:
    """Numbers of filters of a branch, from the input to the displacement.

    encoder: convolutions of stride 2, each of which halves the size.
    decoder: one convolution a level, each followed by nearest upsampling and concatenation with the encoder's level.
    half: further convolutions at half resolution, before the last upsampling.
    full: convolutions at full resolution, before the one that gives the displacement.
    """

    encoder: tuple[int, ...] = (16, 32, 32, 32)
    decoder: tuple[int, ...] = (32, 32, 32, 32)
    half: tuple[int, ...] = ()
    full: tuple[int, ...] = (32, 16, 16)


class VoxelMorphBranch(nn.Module):
    """U-Net with strided convolutions; every convolution but the last is followed by LeakyReLU(0.2), none by a norm.

    Args:
        channels: number of channels of the stacked input.
        shape: filters by layer, see `BranchShape`.
    """

    slope = 0.2

    def __init__(self, channels: int, shape: BranchShape = BranchShape()) -> None:
        super().__init__()
        self.encoder = _chain(channels, shape.encoder, stride=2)
        skips = (channels, *shape.encoder)[-2::-1]
        stages = [(filters,) for filters in shape.decoder[:-1]] + [(shape.decoder[-1], *shape.half)]
        self.decoder = nn.ModuleList()
        width = shape.encoder[-1]
        for stage, skip in zip(stages, skips):
            self.decoder.append(_chain(width, stage))
            width = stage[-1] + skip
        self.full = _chain(width, shape.full)
        self.flow = nn.Conv3d(shape.full[-1], 3, kernel_size=3, padding=1)
        self.multiple = 2 ** len(shape.encoder)
        self._initialise()

    def _initialise(self) -> None:
        if self.flow.weight.is_meta:  # a plan without values; PyTorch would load its compiler, 4 s, to draw none
            return
        for parameter in self.parameters():
            if parameter.dim() == 1:
                nn.init.zeros_(parameter)
            else:
                nn.init.kaiming_normal_(parameter, a=self.slope)
        nn.init.normal_(self.flow.weight, std=FLOW_DEVIATION)  # an untrained branch moves nothing

    def forward(self, images: Tensor) -> Tensor:
        """Return the displacement, (B, 3, D, H, W) in voxels and float32 or wider, of images (B, channels, D, H, W).

        Any size: the images are padded at their far ends with zeros to a multiple of 16, and the result is cropped.
        """
        size = images.shape[2:]
        images = pad_to_multiple(images, self.multiple).contiguous(memory_format=torch.channels_last_3d)
        on_cpu = images.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        compute = folded if on_cpu and images.dtype == torch.float32 else VoxelMorphBranch.layer_by_layer
        return crop(compute(self, images), size)

    def layer_by_layer(self, images: Tensor) -> Tensor:
        """The branch as it is drawn, for sizes that are multiples of 16; `folding` has the shorter way for the CPU."""
        features, levels = images, []
        for convolution in self.encoder:
            levels.append(features)
            features = self.activate(convolution(features))
        for stage in self.decoder:
            for convolution in stage:  # type: ignore[attr-defined]
                features = self.activate(convolution(features))
            features = torch.cat([F.interpolate(features, scale_factor=2, mode="nearest"), levels.pop()], dim=1)
        for convolution in self.full:
            features = self.activate(convolution(features))
        return self.displacement(features)

    def activate(self, features: Tensor) -> Tensor:
        """LeakyReLU in place: its input is not needed again, the sign of its output is that of its input."""
        return F.leaky_relu_(features, self.slope)

    def displacement(self, features: Tensor) -> Tensor:
        """The last convolution, in float32 or wider under autocast too: a coordinate in half precision is a blur."""
        kind = torch.promote_types(self.flow.weight.dtype, torch.float32)
        assert self.flow.bias is not None
        with torch.autocast(features.device.type, enabled=False):
            return F.conv3d(features.to(kind), self.flow.weight.to(kind), self.flow.bias.to(kind), padding=1)


def pad_to_multiple(volume: Tensor, multiple: int) -> Tensor:
    """Pad (B, C, D, H, W) with zeros at the far end of each axis to a multiple of `multiple`."""
    missing = [-size % multiple for size in volume.shape[2:]]
    if not any(missing):
        return volume
    return F.pad(volume, (0, missing[2], 0, missing[1], 0, missing[0]))


def crop(volume: Tensor, size: tuple[int, ...]) -> Tensor:
    """Undo `pad_to_multiple`."""
    return volume[:, :, : size[0], : size[1], : size[2]]


def _chain(width: int, filters: tuple[int, ...], stride: int = 1) -> nn.ModuleList:
    """Return 3³ convolutions, the first from `width` channels, each from the channels of the one before."""
    widths = (width, *filters)
    return nn.ModuleList(
        nn.Conv3d(before, after, kernel_size=3, stride=stride, padding=1) for before, after in zip(widths, filters)
    )


# A backbone takes a number of input channels and is a module from images (B, channels, D, H, W) to a displacement
# (B, 3, D, H, W) in voxels. «B» has the paper's four strided, four decoding and four full-resolution convolutions;
# vm2 is the network of CVPR 2018.
BACKBONES: dict[str, Callable[[int], nn.Module]] = {
    "b": VoxelMorphBranch,
    "vm2": partial(VoxelMorphBranch, shape=BranchShape(half=(32,), full=(16, 16))),
}
