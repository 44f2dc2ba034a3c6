"""MR as a scanner would show it: T1, T2 or Dixon contrast, bias field, chemical shift, thick slices, Rician noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import filters
from .canvas import Canvas
from .draws import Draws
from .material import Material

SEQUENCES = ("t1", "t1-fs", "t2", "t2-fs", "dixon-water", "dixon-fat", "in-phase", "opposed-phase", "t1-contrast")
FAT_SHIFT = 0.009  # body units: 1.5 mm of an adult, about one pixel of an abdominal scan


@dataclass(frozen=True)
class MrProtocol:
    """Times in ms, `fat_shift` in body units along the frequency axis, `noise` relative to the mean signal."""

    sequence: str
    tr: float
    te: float
    noise: float
    bias: float
    fat_shift: float
    frequency_axis: int
    slice_axis: int
    thickness: float
    scale: float

    @classmethod
    def draw(cls, d: Draws, sequence: str | None = None) -> MrProtocol:
        """A random protocol of the given or a random sequence. Pure fat images are rare, as in the clinic."""
        sequence = sequence or d.choice(
            (
                "t1",
                "t1",
                "t1-fs",
                "t2",
                "t2",
                "t2-fs",
                "dixon-water",
                "in-phase",
                "opposed-phase",
                "t1-contrast",
                d.choice(("t1", "dixon-fat")),
            )
        )
        heavy = sequence.startswith("t2")
        tr = d.uniform(2000, 4500) if heavy else d.uniform(120, 550)
        te = d.uniform(70, 110) if heavy else d.uniform(2, 14)
        return cls(
            sequence=sequence,
            tr=tr,
            te=te,
            noise=d.uniform(0.015, 0.06),
            bias=d.uniform(0.05, 0.35),
            fat_shift=FAT_SHIFT * d.uniform(-1.0, 1.0),
            frequency_axis=d.choice((1, 2)),
            slice_axis=d.choice((0, 0, 0, 1)),
            thickness=d.choice((1.0, 2.0, 3.0, 4.0)),
            scale=d.uniform(300, 1500),
        )


def render_mr(
    canvas: Canvas, texture: torch.Tensor, material: Material, protocol: MrProtocol, unit: float, d: Draws
) -> torch.Tensor:
    """Magnitude image (1, 1, D, H, W) float32 in arbitrary scanner units, never negative.

    Args:
        texture: (2, D, H, W) unit-variance structure inside the tissues, coarse and fine.
        unit: voxels a body unit.
    """
    index = canvas.tissue.long()
    water, fat = material.mr_signals(protocol)
    gain = 1.0 + material.mr_texture[index] * (0.7 * texture[0] + 0.5 * texture[1]).clamp(-2.5, 2.5)
    water_image = filters.gaussian((water[index] * gain)[None, None], 0.5)
    fat_image = filters.gaussian((fat[index] * (2.0 - gain).clamp_min(0.2))[None, None], 0.5)
    fat_image = filters.shifted(fat_image, protocol.fat_shift * unit, protocol.frequency_axis)
    image = (water_image - fat_image).abs() if protocol.sequence == "opposed-phase" else water_image + fat_image
    image = filters.thick_slices(image, protocol.slice_axis, protocol.thickness)
    bias = torch.exp(protocol.bias * d.smooth(1, 4, tuple(image.shape[2:])))
    image = image * bias
    level = image[canvas.tissue[None, None] > 0].mean() if bool((canvas.tissue > 0).any()) else image.mean()
    sigma = protocol.noise * level.clamp_min(1e-6)
    real = image + sigma * d.voxel_noise(*image.shape)
    magnitude = (real**2 + (sigma * d.voxel_noise(*image.shape)) ** 2).sqrt()
    return (magnitude / level.clamp_min(1e-6) * protocol.scale).round()


def spin_signal(density: torch.Tensor, t1: torch.Tensor, t2: torch.Tensor, tr: float, te: float) -> torch.Tensor:
    """Spin-echo signal: density (1 − exp(−TR/T1)) exp(−TE/T2)."""
    return density * (1.0 - torch.exp(-tr / t1)) * torch.exp(-te / t2)
