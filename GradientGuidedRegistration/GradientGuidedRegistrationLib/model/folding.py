"""A branch on the CPU: the same numbers as `VoxelMorphBranch.layer_by_layer`, sooner and in less memory.

Three things make the difference:
- *nearest upsampling → concatenation → convolution* is a transposed convolution of the low resolution (kernel 4, stride
  2) plus a convolution of the skip, exactly: of the 27 taps on upsampled voxels many read the same voxel, and their
  weights are added up beforehand. Fewer operations, and neither of the large intermediate volumes.
- the few channels of the images are spread over the 16 that the processor works on at once, by standing each voxel's
  left and right neighbour beside it: three taps of the kernel become channels.
- without derivatives, full resolution, where most of the work is, goes through all its convolutions a few planes at a
  time. Each keeps the last two planes it was given, so nothing is computed twice; the volumes between never exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from .branch import VoxelMorphBranch

LANES = 16  # channels that the CPU's convolutions work on at once
ONEDNN_SIZE = 20480  # PyTorch leaves a convolution of one volume to oneDNN if channels × depth × height exceed this

# Row k: which of the three taps, one axis of a kernel, fall on one voxel of the low resolution at tap k of the
# transposed convolution.
_FOLDING = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))


def folded(branch: VoxelMorphBranch, images: Tensor) -> Tensor:
    """Return what `branch` makes of images (B, C, D, H, W) whose sizes are multiples of `branch.multiple`."""
    features, levels = images, []
    for convolution in branch.encoder:
        levels.append(features)
        features = branch.activate(convolution(features))
    skip = None
    for stage in branch.decoder:
        for convolution in stage:  # type: ignore[attr-defined]
            joined = convolution(features) if skip is None else _join(convolution, features, skip)
            features, skip = branch.activate(joined), None
        skip = levels.pop()
    if not torch.is_grad_enabled():
        return _by_slabs(branch, features, images)
    first, *others = cast("list[nn.Conv3d]", list(branch.full))
    features = branch.activate(_join_images(first, features, images))
    for convolution in others:
        features = branch.activate(convolution(features))
    return branch.displacement(features)


def fold(weight: Tensor) -> Tensor:
    """Return the kernel (I, O, 4, 4, 4) of the transposed convolution that is nearest upsampling and then `weight`."""
    folding = weight.new_tensor(_FOLDING)
    return _last(torch.einsum("oixyz,ax,by,cz->ioabc", weight, folding, folding, folding))


def _join(convolution: nn.Conv3d, low: Tensor, skip: Tensor) -> Tensor:
    """Return convolution(concat(upsample(low), skip))."""
    low_weight, skip_weight = _split(convolution, low)
    result = F.conv_transpose3d(low, fold(low_weight), convolution.bias, stride=2, padding=1)
    return result.add_(F.conv3d(skip, _last(skip_weight), padding=1))


def _join_images(convolution: nn.Conv3d, low: Tensor, images: Tensor) -> Tensor:
    """Return convolution(concat(upsample(low), images)) for images of few channels."""
    low_weight, skip_weight = _split(convolution, low)
    result = F.conv_transpose3d(low, fold(low_weight), convolution.bias, stride=2, padding=1)
    return result.add_(F.conv3d(_rows(images), _row_kernel(skip_weight), padding=(1, 1, 0)))


def _split(convolution: nn.Conv3d, low: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights for the upsampled features and those for the skip."""
    return convolution.weight[:, : low.shape[1]], convolution.weight[:, low.shape[1] :]


def _rows(images: Tensor) -> Tensor:
    """Return images (B, C, D, H, W) with each voxel's left and right neighbour as channels, (B, ≥ 3·C, D, H, W)."""
    batch, count, depth, height, width = images.shape
    rows = _last(images.new_zeros(batch, _lanes(3 * count), depth, height, width))
    rows[:, :count, :, :, 1:] = images[..., : width - 1]
    rows[:, count : 2 * count] = images
    rows[:, 2 * count : 3 * count, :, :, : width - 1] = images[..., 1:]
    return rows


def _row_kernel(weight: Tensor) -> Tensor:
    """Return a kernel (O, I, 3, 3, 3) as one (O, ≥ 3·I, 3, 3, 1) for `_rows`."""
    row = torch.cat(weight.unbind(dim=4), dim=1).unsqueeze(4)
    return _last(F.pad(row, (0, 0, 0, 0, 0, 0, 0, _lanes(row.shape[1]) - row.shape[1])))


def _lanes(channels: int) -> int:
    return channels + -channels % LANES


def _by_slabs(branch: VoxelMorphBranch, low: Tensor, images: Tensor) -> Tensor:
    """Return the displacement, from the features of half the resolution and the images."""
    first, *others = cast("list[nn.Conv3d]", list(branch.full))
    chain = [_Streamed(convolution) for convolution in (*others, branch.flow)]
    low_weight, skip_weight = _split(first, low)
    kernel, row_kernel = fold(low_weight), _row_kernel(skip_weight)
    low, padded = F.pad(low, (0, 0, 0, 0, 1, 1)), F.pad(images, (0, 0, 0, 0, 1, 1))
    result = low.new_empty(images.shape[0], 3, *images.shape[2:])
    slabs, done = _slabs(*images.shape[2:4]), 0
    for start, stop in slabs:
        # Two planes come from each plane of the low resolution and the one on either side; `low` begins one before.
        part = F.conv_transpose3d(
            low[:, :, start // 2 : stop // 2 + 2], kernel, first.bias, stride=2, padding=(3, 1, 1)
        )
        part.add_(F.conv3d(_rows(padded[:, :, start : stop + 2]), row_kernel, padding=(0, 1, 0)))
        for convolution in chain:
            part = convolution(branch.activate(part), is_last=stop == slabs[-1][1])
        result[:, :, done : done + part.shape[2]] = part
        done += part.shape[2]
    return result


def _slabs(depth: int, height: int) -> list[tuple[int, int]]:
    """Return the ranges of planes, of even length, to work on one after the other.

    They are as thin as lets every convolution go to oneDNN, without which it takes ten times as long: the last ones
    have 16 channels and at the start of a volume are given up to four planes less.
    """
    planes = ONEDNN_SIZE // (LANES * height) + 6
    count = max(depth // planes, 1)
    edges = [depth * index // (2 * count) * 2 for index in range(count + 1)]
    return list(zip(edges, edges[1:]))


class _Streamed:
    """A 3³ convolution that is given a volume a few planes at a time, and gives back what it can, one plane behind."""

    def __init__(self, convolution: nn.Conv3d) -> None:
        self.weight, self.bias = _last(convolution.weight), convolution.bias
        self.kept: Tensor | None = None

    def __call__(self, planes: Tensor, is_last: bool) -> Tensor:
        border = torch.zeros_like(planes[:, :, :1])
        parts = [border if self.kept is None else self.kept, planes]
        volume = torch.cat([*parts, border] if is_last else parts, dim=2)
        self.kept = volume[:, :, -2:]
        return F.conv3d(volume, self.weight, self.bias, padding=(0, 1, 1))


def _last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last_3d)
