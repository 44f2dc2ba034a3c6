"""CT as a scanner would show it: HU with contrast phases, noise, streaks, slice thickness and padding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from . import filters
from .canvas import Canvas
from .draws import Draws
from .material import Material

PHASES = ("none", "arterial", "portal", "delayed")


@dataclass(frozen=True)
class CtProtocol:
    """How the CT is taken."""

    phase: str
    noise: float
    grain: float
    thickness: float
    streaks: float
    couch: bool
    padding: float | None

    @classmethod
    def draw(cls, d: Draws) -> CtProtocol:
        """A random protocol; two in three patients have been given contrast."""
        phase = d.choice(PHASES + ("portal", "portal"))
        return cls(
            phase=phase,
            noise=d.uniform(6, 18),
            grain=d.uniform(0.4, 0.8),
            thickness=d.choice((1.0, 1.0, 2.0, 3.0)),
            streaks=d.uniform(2, 12),
            couch=d.chance(0.5),
            padding=d.choice((None, None, -1024.0, -2000.0, -3024.0)),
        )


def render_ct(
    canvas: Canvas, texture: torch.Tensor, points: torch.Tensor, material: Material, protocol: CtProtocol, d: Draws
) -> torch.Tensor:
    """HU (1, 1, D, H, W) float32 of the painted anatomy.

    Args:
        texture: (2, D, H, W) unit-variance structure inside the tissues, coarse and fine.
        points: (3, D, H, W) body units, for what depends on the scanner: couch, noise, field of view.
    """
    index = canvas.tissue.long()
    hu = material.hu[index]
    hu = hu + material.ct_texture[index] * (0.55 * texture[0] + 0.75 * texture[1])
    if protocol.couch:
        hu = torch.where((canvas.tissue == 0) & _couch(points), torch.full_like(hu, -180.0), hu)
    image = filters.gaussian(hu[None, None], 0.55)
    if protocol.thickness > 1:
        image = filters.thick_slices(image, 0, protocol.thickness)
    noise = filters.gaussian(d.voxel_noise(*image.shape), protocol.grain)
    attenuation = 0.55 + 0.45 * torch.exp(-(points[1] ** 2 + points[2] ** 2))[None, None]
    image = image + protocol.noise * noise / noise.std() * attenuation
    image = image + _streaks(d, image, points, protocol.streaks)
    image = image.clamp(-1024, 3071).round()
    if protocol.padding is not None:
        radius = max(float(points[1].max()), float(points[2].max())) * 1.02
        image = torch.where(
            (points[1] ** 2 + points[2] ** 2 > radius**2)[None, None], torch.full_like(image, protocol.padding), image
        )
    return image


def _couch(p: torch.Tensor) -> torch.Tensor:
    """The shell of the table under the patient."""
    depth = p[1] - 0.10 * p[2] ** 2 - 0.82
    return (depth.abs() < 0.012) & (p[2].abs() < 0.85)


def _streaks(d: Draws, image: torch.Tensor, p: torch.Tensor, strength: float) -> torch.Tensor:
    """Dark and bright lines across the slices, strongest between the bones of each side and near gas."""
    total = torch.zeros_like(image)
    profile_count = 96
    for _ in range(3):
        angle = d.uniform(-0.5, 0.5) + (math.pi if d.chance(0.5) else 0.0)
        offset = math.cos(angle) * p[1] + math.sin(angle) * p[2]
        profile = d.normals(1, 1, max(4, image.shape[2] // 3), profile_count)
        grid = torch.stack([(offset / 1.3).clamp(-1, 1), (p[0] / p[0].abs().max().clamp_min(1e-3))], dim=-1)
        lines = torch.nn.functional.grid_sample(
            profile.expand(1, -1, -1, -1),
            grid.reshape(1, -1, grid.shape[2], 2),
            align_corners=True,
            padding_mode="border",
        )
        total = total + lines.reshape(image.shape)
    fade = torch.exp(-(((p[1] - 0.1) / 0.5) ** 2) - (p[2] / 0.8) ** 2)[None, None]
    return strength * 0.6 * total * fade
