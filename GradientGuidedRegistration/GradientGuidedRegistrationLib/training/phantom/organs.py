"""Soft organs of the phantom. Functions paint on a `Canvas`; `body` holds the patient's proportions.

`inside` is the distance to the inside of the muscular wall, `detail` (3, D, H, W) fine noise. Each organ is evaluated
in a window of the canvas around it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from . import implicit as shape
from .canvas import Canvas
from .draws import Draws

if TYPE_CHECKING:
    from .abdomen import Abdomen


def draw_tumours(d: Draws) -> list[tuple[list[float], list[float]]]:
    """Centres and radii of one to five tumours in the liver."""
    found = []
    for _ in range(d.integer(1, 5)):
        centre = [d.uniform(0.12, 0.55), d.uniform(-0.20, 0.25), d.uniform(-0.65, -0.10)]
        radius = d.uniform(0.04, 0.12)
        found.append((centre, [radius * d.uniform(0.8, 1.25) for _ in range(3)]))
    return found


def cavity(body: Abdomen, canvas: Canvas, inside: torch.Tensor, detail: torch.Tensor) -> None:
    """Visceral fat with septa and mesenteric vessels, and the bowel in it."""
    canvas.paint(inside, "visceral fat")
    canvas.paint(detail[0].abs() * 0.06 - 0.003, "septum", where=inside < 0)
    canvas, p, inside, detail = canvas.window((-9, -0.65, -0.9), (0.6, 0.5, 0.9), inside, detail)
    canvas.paint(body.mesentery(p)[0], "mesenteric vessel", where=inside < 0)
    loops = body.bowel(p)[0] + 0.012 * detail[1]
    lumen = loops + 0.020
    canvas.paint(loops, "bowel wall", where=inside < -0.02)
    canvas.paint(lumen, "bowel content", where=inside < -0.035)
    # Gas rises: it is found in front, in stretches along the loops.
    gas = lumen + 0.02 + 0.10 * (p[1] + 0.15) - 0.05 * (body.gas_level - 0.5) + 0.025 * detail[2]
    canvas.paint(torch.maximum(lumen + 0.01, gas), "bowel gas", where=inside < -0.04)


def psoas_and_back(body: Abdomen, canvas: Canvas) -> None:
    """Psoas muscles beside the spine, erector muscles behind it."""
    canvas, p = canvas.window((-9, 0.1, -0.45), (9, 9, 0.45))
    depth = 0.5 * body.half_depth
    for side in (-1.0, 1.0):
        widening = 0.17 + 0.10 * (0.2 - p[0]).clamp(0, 1.2)
        psoas = (
            ((p[2] - side * widening) / (0.055 + 0.05 * (0.2 - p[0]).clamp(0, 1.0))) ** 2
            + ((p[1] - depth + 0.02) / 0.09) ** 2
        ).sqrt()
        canvas.paint((psoas - 1.0) * 0.06, "muscle", where=p[0] < 0.25)
        back = (((p[2] - side * 0.20) / 0.17) ** 2 + ((p[1] - body.half_depth + body.fat + 0.11) / 0.10) ** 2).sqrt()
        canvas.paint((back - 1.0) * 0.1, "muscle")
        canvas.paint((back - 0.55).abs() * 0.1 - 0.004, "visceral fat", where=back < 0.8)


def diaphragm(body: Abdomen, p: torch.Tensor) -> torch.Tensor:
    """Height of the diaphragm over (y, x): two domes, the right one higher."""
    depth = torch.exp(-((p[1] / 0.5) ** 2))
    right = torch.exp(-(((p[2] + 0.42) / 0.42) ** 2))
    left = torch.exp(-(((p[2] - 0.45) / 0.38) ** 2))
    return body.dome - 0.42 + 0.44 * depth * torch.maximum(right, 0.90 * left)


def chest(body: Abdomen, canvas: Canvas, inside: torch.Tensor) -> None:
    """Lungs above the diaphragm, fat of the mediastinum, heart."""
    canvas, p, inside = canvas.window((body.dome - 0.5, -9, -9), (9, 9, 9), inside)
    above = diaphragm(body, p) - p[0]
    canvas.paint(torch.maximum(above - 0.018, inside + 0.01), "muscle")
    canvas.paint(torch.maximum(above, inside + 0.02), "lung")
    canvas.paint(torch.maximum(torch.maximum(p[2].abs() - 0.16, above), inside + 0.02), "visceral fat")
    heart = shape.ellipsoid(
        p,
        body.placed("heart", body.dome + 0.28, -0.22, 0.16),
        [r * body.size["heart"] for r in (0.26, 0.26, 0.33)],
        tilt=0.4,
    )
    canvas.paint(torch.maximum(heart, above - 0.01), "heart", where=inside < -0.03)


def _room(body: Abdomen, p: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Distance to the space below the diaphragm and inside the wall."""
    return torch.maximum(inside + 0.02, p[0] - diaphragm(body, p) + 0.035)


def stomach_and_spleen(body: Abdomen, canvas: Canvas, inside: torch.Tensor) -> None:
    """Stomach with wall, content and gas in front; spleen with its hilum."""
    canvas, p, inside = canvas.window((-0.15, -0.65, -0.2), (0.75, 0.6, 0.95), inside)
    room = _room(body, p, inside)
    k = body.size["stomach"]
    stomach = shape.smooth_union(
        shape.ellipsoid(p, body.placed("stomach", 0.36, 0.02, 0.42), [0.22 * k, 0.20 * k, 0.21 * k]),
        shape.ellipsoid(p, body.placed("stomach", 0.10, -0.24, 0.26), [0.14 * k, 0.13 * k, 0.26 * k], tilt=-0.5),
        0.12,
    )
    stomach = torch.maximum(stomach, room)
    canvas.paint(stomach, "stomach wall")
    canvas.paint(stomach + 0.022, "stomach content")
    canvas.paint(torch.maximum(stomach + 0.026, p[1] - body.stomach_level), "bowel gas", label="stomach")
    k = body.size["spleen"]
    spleen = shape.ellipsoid(p, body.placed("spleen", 0.30, 0.17, 0.62), [0.27 * k, 0.25 * k, 0.17 * k], tilt=-0.25)
    hilum = shape.ellipsoid(p, body.placed("spleen", 0.28, 0.08, 0.40), [0.22 * k, 0.20 * k, 0.16 * k])
    canvas.paint(torch.maximum(shape.smooth_cut(spleen, hilum, 0.05), room), "spleen")


def liver(body: Abdomen, canvas: Canvas, inside: torch.Tensor, detail: torch.Tensor) -> None:
    """Two lobes with vessels and tumours, and the gallbladder under them."""
    canvas, p, inside, detail = canvas.window((-0.45, -0.7, -0.95), (0.9, 0.65, 0.6), inside, detail)
    k, room = body.size["liver"], _room(body, p, inside)
    right = shape.ellipsoid(p, body.placed("liver", 0.22, 0.02, -0.43), [0.52 * k, 0.47 * k, 0.43 * k])
    left = shape.ellipsoid(p, body.placed("liver", 0.40, -0.26, 0.06), [0.20 * k, 0.20 * k, 0.38 * k], tilt=-0.25)
    whole = shape.smooth_cut(
        shape.smooth_union(right, left, 0.15), -shape.half_space(p, body.liver_cut, (-0.75, 0.35, 0.50)), 0.10
    )
    notch = shape.ellipsoid(p, (0.22, -0.42, -0.10), (0.25, 0.16, 0.035))
    whole = torch.maximum(shape.smooth_cut(whole, notch, 0.05), room)
    canvas.paint(whole, "liver")
    canvas.paint(body.liver_vessels(p)[0], "liver vessel", where=whole < -0.03)
    for centre, radii in body.tumours:
        reach = [1.3 * r + 0.04 for r in radii]
        spot, q, near, noise = canvas.window(
            [c - r for c, r in zip(centre, reach)], [c + r for c, r in zip(centre, reach)], whole, detail
        )
        spot.paint(shape.ellipsoid(q, centre, radii) + 0.012 * noise[2], "tumour", where=near < -0.01)
    k = body.size["gallbladder"]
    bladder = shape.ellipsoid(
        p, body.placed("gallbladder", body.liver_cut[0] + 0.02, -0.20, -0.30), [0.13 * k, 0.10 * k, 0.075 * k], tilt=0.5
    )
    canvas.paint(torch.maximum(bladder, room), "gallbladder")


def kidneys(body: Abdomen, canvas: Canvas) -> None:
    """Cortex, pyramids of the medulla, fat of the sinus, and the fat capsule that keeps the bowel away."""
    for side, name, z in ((1.0, "left", -0.05), (-1.0, "right", -0.14)):
        k, tilt = body.size[f"kidney {name}"], side * body.tilt[name]
        centre = body.placed(f"kidney {name}", z, 0.24, side * 0.40)
        radii = [0.27 * k, 0.135 * k, 0.145 * k]
        part, p = canvas.window(
            [centre[0] - 0.42, centre[1] - 0.25, centre[2] - 0.32],
            [centre[0] + 0.42, centre[1] + 0.25, centre[2] + 0.32],
        )
        capsule = shape.ellipsoid(p, centre, [r + 0.05 for r in radii], tilt=tilt)
        part.paint(capsule, "visceral fat", where=part.is_tissue("bowel wall", "bowel content", "bowel gas"))
        kidney = shape.ellipsoid(p, centre, radii, tilt=tilt)
        part.paint(kidney, "kidney cortex")
        angle = torch.atan2(p[1] - centre[1], side * (p[2] - centre[2]))
        pyramids = torch.cos(4.0 * angle) + torch.cos((p[0] - centre[0]) * 2 * math.pi / 0.15)
        part.paint(kidney + 0.045 * k - 0.012 * pyramids, "kidney medulla")
        hilum = [centre[0], centre[1] - 0.03, centre[2] - side * 0.085 * k]
        part.paint(shape.ellipsoid(p, hilum, [0.13 * k, 0.05 * k, 0.10 * k], tilt=tilt), "visceral fat")


def great_vessels(body: Abdomen, canvas: Canvas) -> None:
    """Aorta and inferior vena cava with the vessels of the kidneys."""
    k, depth = body.size["vessel"], 0.5 * body.half_depth - 0.135
    canvas, p = canvas.window((-9, depth - 0.15, -0.45), (9, 0.35, 0.45))
    for name, x, width, thickness in (("aorta", 0.055, 0.062, 0.062), ("cava", -0.105, 0.070, 0.052)):
        sway = 0.02 * torch.sin(2.5 * p[0] + body.rib_phase * 6)
        r = (((p[2] - x - sway) / width) ** 2 + ((p[1] - depth) / thickness) ** 2).sqrt()
        canvas.paint((r - k) * 0.06, name, where=p[0] < (body.dome if name == "cava" else 9))
        for side in (1.0, -1.0):
            segment = torch.tensor([[[-0.10, depth, x, 0.020], [-0.11, 0.24, side * 0.31, 0.014]]])
            part, q = canvas.window((-0.2, depth - 0.05, -0.42), (0.0, 0.32, 0.42))
            part.paint(
                shape.capsules(q, segment), name, where=part.is_tissue("visceral fat", "septum", "mesenteric vessel")
            )
