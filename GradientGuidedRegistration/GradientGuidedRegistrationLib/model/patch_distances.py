"""Distances between patches of shifted copies of an image, and their derivative: the engine of MIND and MIND-SSC.

What makes it fast, without changing the result:
- the distance is a slice minus a slice, squared and summed along one axis after the other;
- rows and planes carry a margin of zeros, so a sum over neighbours is a sum of shifted runs of memory;
- on the CPU one channel of a few planes is worked on at a time, in two buffers that stay in the cache and are used
  again (new memory costs more than the arithmetic); on a GPU whole volumes of several channels are, as launches cost
  more;
- the derivative is written out, and computes again what automatic differentiation would keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Offset = tuple[int, int, int]
Pairs = tuple[tuple[Offset, Offset], ...]
ChannelWriter = Callable[[slice, Tensor], None]

CPU_BUFFER = 250_000  # voxels a thread: two such buffers and what they are made from fit in a core's cache
GPU_CHANNELS = 4
LEAST_WEIGHT = 1e-6  # mean weight of a patch below which its distance counts as none


class PatchDistances:
    """Works on one volume (D, H, W), a slab of planes and a group of channels at a time.

    The volume is padded on all sides by `margin` voxels of its border value, the two buffers by as many zeros in the
    plane and by `radius` planes, so that one row follows another at the same pitch in all of them and a shift of a
    volume is a shift of its memory.

    Args:
        volume: (D, H, W).
        pairs: the two offsets that each channel compares, in units of the dilation, array order.
        radius: patches are cubes of side 2·radius + 1.
        dilation: distance in voxels that an offset of 1 stands for.
        mask: (D, H, W), by how much each voxel counts; without derivatives only. None counts all alike.
    """

    def __init__(self, volume: Tensor, pairs: Pairs, radius: int, dilation: int, mask: Tensor | None = None) -> None:
        self.pairs, self.radius, self.dilation = pairs, radius, dilation
        self.depth, self.height, self.width = volume.shape
        self.margin = max(radius, dilation)
        self.pitches = (
            (self.height + 2 * self.margin) * (self.width + 2 * self.margin),
            self.width + 2 * self.margin,
            1,
        )
        on_cpu = volume.device.type == "cpu"
        buffer = CPU_BUFFER * torch.get_num_threads()
        self.planes = min(self.depth, max(1, buffer // self.pitches[0])) if on_cpu else self.depth
        self.channels = 1 if on_cpu else GPU_CHANNELS
        self.image = self._padded(volume)
        self.mask = None if mask is None else self._padded(mask)
        count = 2 if mask is None else 3
        self.buffers = volume.new_zeros(count, self.channels, self.planes + 2 * radius, *self._plane_shape())

    def _padded(self, volume: Tensor) -> Tensor:
        return F.pad(volume[None, None], (self.margin,) * 6, mode="replicate").flatten()

    def _plane_shape(self) -> tuple[int, int]:
        return self.height + 2 * self.margin, self.width + 2 * self.margin

    def slabs(self) -> Iterator[slice]:
        """The slabs of planes to work on, one after the other."""
        for start in range(0, self.depth, self.planes):
            yield slice(start, min(start + self.planes, self.depth))

    def groups(self) -> Iterator[slice]:
        """The groups of channels to work on, one after the other."""
        count = len(self.pairs)
        for start in range(0, count, self.channels):
            yield slice(start, min(start + self.channels, count))

    def write(self, channels: slice, planes: slice, out: Tensor) -> None:
        """Write the patch distances, up to a constant factor, to `out` (channels, planes, H, W)."""
        a, b, *others = self._buffers(channels, planes)
        self._combine(torch.sub, self.image, channels, planes, self.radius, a)
        a.mul_(a)
        for weight in others:
            assert self.mask is not None
            self._combine(torch.mul, self.mask, channels, planes, self.radius, weight)
            a.mul_(weight)
        self._sum_over_patch(a, b, planes, self._border_as_value)
        out.copy_(self._inside(b))
        for weight in others:
            self._sum_over_patch(weight, b, planes, self._border_as_value)
            out.div_(self._inside(b).clamp_min(LEAST_WEIGHT * (2 * self.radius + 1) ** 3))

    def derivative(self, upstream: Callable[[slice], ChannelWriter]) -> Tensor:
        """Return the derivative (D, H, W) with respect to the volume of Σ u · distances.

        `upstream(planes)` is called slab by slab with as many planes more as a patch reaches over, and gives the
        function that writes 2·u of some channels on these planes to a tensor (channels, planes, H, W). The factor 2
        is that of the square.
        """
        padded = torch.zeros_like(self.image)
        for planes in self.slabs():
            write = upstream(slice(max(planes.start - self.radius, 0), min(planes.stop + self.radius, self.depth)))
            for channels in self.groups():
                a, b = self._buffers(channels, planes)
                self._clear(a, planes)
                write(channels, self._inside(a, self._halo(planes)))
                self._sum_over_patch(a, b, planes, self._value_as_border)
                self._combine(torch.sub, self.image, channels, planes, 0, a)
                self._scatter(channels, planes, a.mul_(b), padded)
        return self._fold(padded.view(self.depth + 2 * self.margin, *self._plane_shape()))

    def _buffers(self, channels: slice, planes: slice) -> tuple[Tensor, ...]:
        count = planes.stop - planes.start + 2 * self.radius
        return self.buffers[:, : channels.stop - channels.start, :count].unbind()

    def _halo(self, planes: slice) -> slice:
        """Return which planes of a buffer for `planes` are inside the volume."""
        first = max(self.radius - planes.start, 0)
        return slice(first, min(planes.stop + self.radius, self.depth) - planes.start + self.radius)

    def _inside(self, buffer: Tensor, planes: slice | None = None) -> Tensor:
        """Return the view of a buffer without its margins, and without its outer planes unless `planes` says which."""
        if planes is None:
            planes = slice(self.radius, buffer.shape[1] - self.radius)
        m = self.margin
        return buffer[:, planes, m : m + self.height, m : m + self.width]

    def _clear(self, buffer: Tensor, planes: slice) -> None:
        """Set all of a buffer to zero that is outside the volume."""
        m, halo = self.margin, self._halo(planes)
        buffer[:, : halo.start].zero_()
        buffer[:, halo.stop :].zero_()
        buffer[:, :, :m].zero_()
        buffer[:, :, m + self.height :].zero_()
        buffer[:, :, :, :m].zero_()
        buffer[:, :, :, m + self.width :].zero_()

    def _shift(self, offset: Offset) -> int:
        return self.dilation * sum(step * pitch for step, pitch in zip(offset, self.pitches))

    def _combine(
        self, operation: Callable[..., Tensor], volume: Tensor, channels: slice, planes: slice, radius: int, out: Tensor
    ) -> None:
        """Fill a buffer with I(x + a) ∘ I(x + b) on `planes` and `radius` more each side, zero outside the volume."""
        first, last = max(planes.start - radius, 0), min(planes.stop + radius, self.depth)
        inner = out[:, first - planes.start + self.radius : last - planes.start + self.radius]
        start, stop = (first + self.margin) * self.pitches[0], (last + self.margin) * self.pitches[0]
        for part, (one, other) in zip(inner, self.pairs[channels]):
            a, b = self._shift(one), self._shift(other)
            operation(volume[start + a : stop + a], volume[start + b : stop + b], out=part.view(-1))
        self._clear(out, planes)

    def _sum_over_patch(self, a: Tensor, b: Tensor, planes: slice, border: Callable[..., None]) -> None:
        """Sum `a` over cubes of side 2·radius + 1, with `b` for a second buffer; the result is in `b`."""
        if self.radius == 0:
            b.copy_(a)
            return
        halo, m = self._halo(planes), self.margin
        top = halo.start if planes.start <= self.radius else None
        bottom = halo.stop - 1 if planes.stop + self.radius >= self.depth else None
        for source, target, axis, first, last in (
            (a, b, 3, m, m + self.width - 1),
            (b, a, 2, m, m + self.height - 1),
            (a, b, 1, top, bottom),
        ):
            self._sum_along(source, target, self.pitches[axis - 1])
            for place, inward in ((first, 1), (last, -1)):
                if place is not None:
                    border(source, target, axis, place, inward)

    def _sum_along(self, source: Tensor, target: Tensor, pitch: int) -> None:
        reach = self.radius * pitch
        source, target = source.view(-1), target.view(-1)
        size = source.numel() - 2 * reach
        inner = target[reach : reach + size]
        torch.add(source[:size], source[pitch : pitch + size], out=inner)
        for step in range(2, 2 * self.radius + 1):
            inner.add_(source[step * pitch : step * pitch + size])

    def _border_as_value(self, source: Tensor, target: Tensor, axis: int, border: int, inward: int) -> None:
        """Add what a sum over neighbours lacks near the border, where the border value goes on outside."""
        for place, weight in self._beside(border, inward, target.shape[axis]):
            target.select(axis, place).add_(source.select(axis, border), alpha=weight)

    def _value_as_border(self, source: Tensor, target: Tensor, axis: int, border: int, inward: int) -> None:
        """The transpose of `_border_as_value`."""
        for place, weight in self._beside(border, inward, target.shape[axis]):
            target.select(axis, border).add_(source.select(axis, place), alpha=weight)

    def _beside(self, border: int, inward: int, size: int) -> Iterator[tuple[int, int]]:
        """Places whose sums reach over the border, inwards from it, and how often they lack its value."""
        for step in range(self.radius):
            place = border + inward * step
            if 0 <= place < size:
                yield place, self.radius - step

    def _scatter(self, channels: slice, planes: slice, product: Tensor, padded: Tensor) -> None:
        """Add the derivative of I(x + a) − I(x + b) to the padded image's."""
        start, stop = ((plane + self.margin) * self.pitches[0] for plane in (planes.start, planes.stop))
        inner = product[:, self.radius : product.shape[1] - self.radius]
        for part, (one, other) in zip(inner.flatten(1), self.pairs[channels]):
            a, b = self._shift(one), self._shift(other)
            padded[start + a : stop + a].add_(part)
            padded[start + b : stop + b].sub_(part)

    def _fold(self, padded: Tensor) -> Tensor:
        """Undo the padding: the derivative of the margin belongs to the border voxel it is a copy of."""
        m = self.margin
        for axis, size in enumerate((self.depth, self.height, self.width)):
            padded.select(axis, m).add_(padded.narrow(axis, 0, m).sum(dim=axis))
            padded.select(axis, m + size - 1).add_(padded.narrow(axis, m + size, m).sum(dim=axis))
            padded = padded.narrow(axis, m, size)
        return padded
