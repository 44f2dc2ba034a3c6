"""From patch distances to MIND and MIND-SSC and to the difference of two images in them, with the derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import InputError
from .patch_distances import Pairs, PatchDistances

# The variance estimate is kept within these multiples of its mean over the volume: flat regions must not divide by
# zero.
VARIANCE_RANGE = (1e-3, 1e3)


@dataclass(frozen=True)
class Descriptor:
    """Which patches are compared, and how their distances become a descriptor.

    pairs: the two offsets that each channel compares, in units of the dilation, array order.
    radius: patches are cubes of side 2·radius + 1.
    subtract_minimum: subtract the smallest distance of a voxel from all of them (MIND-SSC), or not (eq. 4).
    """

    pairs: Pairs
    radius: int
    dilation: int
    subtract_minimum: bool

    def __post_init__(self) -> None:
        if self.radius < 0 or self.dilation < 1:
            given = f"{self.radius} and {self.dilation}"
            raise InputError(f"radius must be at least 0 and dilation at least 1, but they are {given}.")

    def __call__(self, image: Tensor) -> Tensor:
        """Return the descriptors (B, len(pairs), D, H, W) of an image (B, 1, D, H, W), differentiable once."""
        return _Describe.apply(image, self)

    def difference(self, image: Tensor, features: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the mean of |self(image) − features|, a scalar differentiable once in the image; eq. 5 of the paper.

        The same number as from `self(image)`, without a pass through memory for each of subtracting, taking the
        absolute value and the mean, and the same again for the derivative.

        Args:
            image: (B, 1, D, H, W).
            features: what to compare with, (B, len(pairs), D, H, W), a constant.
            weight: by how much each voxel counts, (B, 1, D, H, W), a constant; None counts all alike.
        """
        batch = (image.shape[0], -1, -1, -1, -1)
        weight = None if weight is None else weight.expand(batch)
        return _Difference.apply(image, features.expand(batch), weight, self)

    @torch.no_grad()
    def inside(self, image: Tensor, mask: Tensor | None) -> Tensor:
        """Return the descriptors with patch means over what `mask` (B, 1, D, H, W) lets count; not differentiable.

        Without a mask all of it counts.
        """
        mask = None if mask is None else mask.expand(image.shape[0], -1, -1, -1, -1)
        return _describe(image, self, mask)[0]

    def distances_of(self, volume: Tensor, mask: Tensor | None = None) -> PatchDistances:
        """The patch distances of one volume (D, H, W) for this descriptor's pairs."""
        return PatchDistances(volume, self.pairs, self.radius, self.dilation, mask)


def variance_within_range(variance: Tensor) -> Tensor:
    """Return (B, 1, D, H, W) kept within `VARIANCE_RANGE` of its mean, without reading that mean from the device."""
    mean = variance.detach().mean(dim=(1, 2, 3, 4), keepdim=True).clamp_min(torch.finfo(variance.dtype).tiny * 1e6)
    low, high = VARIANCE_RANGE
    return torch.minimum(torch.maximum(variance, mean * low), mean * high)


class _Describe(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image: Tensor, descriptor: Descriptor) -> Tensor:
        features, scale, is_free = _describe(image, descriptor)
        ctx.descriptor = descriptor
        ctx.save_for_backward(image, features, scale, is_free)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        image, features, scale, is_free = ctx.saved_tensors
        return _differentiate(
            image, features, scale, is_free, ctx.descriptor, lambda item, planes: gradient[item, :, planes]
        ), None


class _Difference(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image: Tensor, target: Tensor, weight: Tensor | None, descriptor: Descriptor) -> Tensor:
        total = image.new_zeros(())

        def add(item: int, channels: slice, planes: slice, part: Tensor) -> None:
            difference = (part - target[item, channels, planes]).abs_()
            total.add_((difference if weight is None else difference.mul_(weight[item, :, planes])).sum())

        features, scale, is_free = _describe(image, descriptor, visit=add)
        voxels = total.new_full((), image.numel()) if weight is None else weight.sum().clamp_min(1)
        count = voxels * len(descriptor.pairs)
        ctx.descriptor = descriptor
        ctx.save_for_backward(image, features, scale, is_free, target, weight, count)
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        image, features, scale, is_free, target, weight, count = ctx.saved_tensors
        factor = gradient / count

        def upstream(item: int, planes: slice) -> Tensor:
            sign = (features[item, :, planes] - target[item, :, planes]).sign_()
            return sign.mul_(factor if weight is None else factor * weight[item, :, planes])

        return _differentiate(image, features, scale, is_free, ctx.descriptor, upstream), None, None, None


def _describe(
    image: Tensor,
    descriptor: Descriptor,
    mask: Tensor | None = None,
    visit: Callable[[int, slice, slice, Tensor], None] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the descriptors m = exp(−t · scale), scale = 1 / V, and where V is the variance and not a limit of it.

    Two passes, because the limits depend on all of the image. `visit(item, channels, planes, m)` is called for each
    part of the result while it is in the cache.
    """
    features = image.new_empty(image.shape[0], len(descriptor.pairs), *image.shape[2:])
    smallest = torch.full_like(image, float("inf")) if descriptor.subtract_minimum else None
    total = torch.zeros_like(image)
    parts: list[tuple[int, slice, slice, Tensor]] = []
    for item in range(image.shape[0]):
        distances = descriptor.distances_of(image[item, 0], None if mask is None else mask[item, 0])
        for planes in distances.slabs():
            for channels in distances.groups():
                part = features[item, channels, planes]
                parts.append((item, channels, planes, part))
                distances.write(channels, planes, part)
                total[item, 0, planes] += part.sum(dim=0) if len(part) > 1 else part[0]
                if smallest is not None:
                    lowest = part.amin(dim=0) if len(part) > 1 else part[0]
                    torch.minimum(smallest[item, 0, planes], lowest, out=smallest[item, 0, planes])
    mean = total.div_(len(descriptor.pairs))
    if smallest is not None:
        mean.sub_(smallest).clamp_min_(0)
    variance = variance_within_range(mean)
    is_free = variance == mean
    scale = variance.reciprocal_()
    for item, channels, planes, part in parts:
        part.neg_() if smallest is None else torch.sub(smallest[item, :, planes], part, out=part)
        part.mul_(scale[item, :, planes]).exp_()
        if visit is not None:
            visit(item, channels, planes, part)
    return features, scale, is_free


def _differentiate(
    image: Tensor,
    features: Tensor,
    scale: Tensor,
    is_free: Tensor,
    descriptor: Descriptor,
    gradient: Callable[[int, slice], Tensor],
) -> Tensor:
    """Return the derivative (B, 1, D, H, W) of Σ gradient · features; `gradient(item, planes)` is (C, planes, H, W)."""
    result = torch.empty_like(image)
    for item in range(image.shape[0]):

        def upstream(planes: slice, item: int = item) -> _Upstream:
            parts = features[item, :, planes], scale[item, 0, planes], is_free[item, 0, planes]
            return _Upstream(*parts, gradient(item, planes), descriptor.subtract_minimum)

        result[item, 0] = descriptor.distances_of(image[item, 0]).derivative(upstream)
    return result


class _Upstream:
    """Derivative of Σ gradient · features with respect to the patch distances, (C, P, H, W), channel by channel.

    With features m = exp(−t / V), t the distance less the smallest of the voxel and V the mean of t, it has three
    parts: dm/dt of the channel itself, the share of every channel in V where V is free, and that of the smallest
    distance in all t.
    """

    def __init__(self, features: Tensor, scale: Tensor, is_free: Tensor, gradient: Tensor, has_minimum: bool) -> None:
        self.features, self.scale, self.gradient = features, scale, gradient
        total, by_variance, ties = torch.zeros_like(scale), torch.zeros_like(scale), None
        if has_minimum:
            ties = torch.zeros_like(scale)
        floor = torch.finfo(features.dtype).tiny
        for feature, upstream in zip(features, gradient):
            weighted = upstream * feature
            total.add_(weighted)
            by_variance.addcmul_(weighted, feature.clamp_min(floor).log_())
            if ties is not None:
                ties.add_(feature == 1)
        self.common = by_variance.mul_(is_free).div_(-len(features))
        self.smallest = None if ties is None else total.sub_(self.common, alpha=len(features)).div_(ties)

    def __call__(self, channels: slice, out: Tensor) -> None:
        """Write twice the derivative for `channels` to `out`: what the square's derivative lacks is the difference."""
        part = torch.sub(self.common, self.gradient[channels] * self.features[channels])
        if self.smallest is not None:
            part.addcmul_(self.features[channels] == 1, self.smallest)
        torch.mul(part, 2 * self.scale, out=out)
