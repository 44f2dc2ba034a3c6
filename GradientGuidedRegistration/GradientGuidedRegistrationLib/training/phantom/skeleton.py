"""Spine and ribs of the phantom. Functions paint on a `Canvas`; `body` holds the patient's proportions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .canvas import Canvas

if TYPE_CHECKING:
    from .abdomen import Abdomen


def spine(body: Abdomen, canvas: Canvas, skin: torch.Tensor) -> None:
    """Vertebral bodies with cortex and marrow, discs, arch with processes, spinal canal."""
    k, depth = body.size["spine"], 0.5 * body.half_depth + 0.055
    arch = depth + 0.115 * k + 0.055
    canvas, p, skin = canvas.window((-9, depth - 0.15, -0.3), (9, 9, 0.3), skin)
    trunk = ((p[2] / (0.145 * k)) ** 2 + ((p[1] - depth) / (0.115 * k)) ** 2).sqrt()
    trunk = (trunk - 1.0) * 0.12
    cycle = torch.remainder(p[0] / body.disc_pitch + body.disc_phase, 1.0)
    away = torch.ones_like(cycle)
    spinous = torch.maximum(p[2].abs() - 0.025, (p[1] - arch - 0.16).abs() - 0.13)
    spinous = spinous.where((cycle > 0.35) & (cycle < 0.8), away)
    transverse = torch.maximum((p[1] - arch).abs() - 0.032, p[2].abs() - 0.27)
    transverse = transverse.where((cycle > 0.45) & (cycle < 0.75), away)
    around = ((p[2] / 0.115) ** 2 + ((p[1] - arch) / 0.085) ** 2).sqrt()
    bone = torch.minimum(torch.minimum(trunk, (around - 1.0) * 0.09), torch.minimum(spinous, transverse))
    bone = torch.maximum(bone, skin + body.fat + 0.02)
    canvas.paint(bone, "cortical bone", label="spine")
    canvas.paint(bone + 0.018, "marrow", label="spine")
    canvas.paint(trunk, "disc", where=cycle < 0.24)
    endplate = ((cycle > 0.24) & (cycle < 0.31)) | (cycle > 0.94)
    canvas.paint(trunk, "cortical bone", label="spine", where=endplate)
    canvas.paint((((p[2] / 0.072) ** 2 + ((p[1] - arch) / 0.055) ** 2).sqrt() - 1.0) * 0.06, "spinal canal")


def ribs(body: Abdomen, canvas: Canvas, skin: torch.Tensor) -> None:
    """Ribs in the wall, sloping down toward the front, up to the costal margin."""
    canvas, p, skin = canvas.window((-0.6, -0.46, -9), (9, 9, 9), skin)
    middle = skin + body.fat + 0.5 * body.wall
    height = (p[0] + body.rib_slope * (0.35 - p[1])) / body.rib_pitch + body.rib_phase
    along = (torch.remainder(height, 1.0) - 0.5).abs() * body.rib_pitch
    rib = (((middle / 0.026) ** 2 + (along / 0.046) ** 2).sqrt() - 1.0) * 0.03
    cage = (p[0] > 0.02 - 0.55 * (p[1] + 0.1)) & (p[2].abs() > 0.14) & (p[1] > -0.45)
    canvas.paint(rib, "cortical bone", label="ribs", where=cage)
    canvas.paint(rib + 0.013, "marrow", label="ribs", where=cage)
