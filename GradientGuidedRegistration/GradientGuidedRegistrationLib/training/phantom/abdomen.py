"""A labelled abdomen, its anatomy drawn from a seed.

The anatomy is a function of space: it can be asked for the tissue at any point, so that the deformed image is as sharp
as the other. Coordinates are body units (z superior, y posterior, x left; 1 = half the width of the body); the patient
is supine.
"""

from __future__ import annotations

import torch

from . import organs, skeleton
from .canvas import Canvas
from .draws import Draws
from .implicit import superellipse
from .lattice import Lattice
from .tubes import bowel_loops, mesenteric_vessels, organ_vessels


class Abdomen:
    """One patient. `Abdomen(draws).paint(points)` gives the tissue and label at each point."""

    def __init__(self, draws: Draws):
        d = draws
        self.half_depth = d.uniform(0.62, 0.74)
        self.fat = d.uniform(0.03, 0.12)
        self.wall = d.uniform(0.055, 0.085)
        self.size = {
            name: d.uniform(0.88, 1.12)
            for name in (
                "liver",
                "spleen",
                "kidney left",
                "kidney right",
                "stomach",
                "gallbladder",
                "heart",
                "spine",
                "vessel",
            )
        }
        self.shift = {name: d.vector(-0.035, 0.035).tolist() for name in self.size}
        self.tilt = {side: d.uniform(0.05, 0.30) for side in ("left", "right")}
        self.dome = d.uniform(0.62, 0.74)
        self.disc_phase, self.disc_pitch = d.uniform(0, 1), d.uniform(0.19, 0.22)
        self.rib_phase, self.rib_pitch, self.rib_slope = d.uniform(0, 1), d.uniform(0.17, 0.20), d.uniform(0.35, 0.60)
        self.gas_level = d.uniform(0.1, 0.8)
        self.stomach_level = d.uniform(-0.32, -0.10)
        self.liver_cut = (d.uniform(-0.05, 0.12), d.uniform(0.05, 0.15), d.uniform(-0.28, -0.15))
        self.tumours = organs.draw_tumours(d)
        self.warp = self._noise(d, 3, 9)
        self.detail = self._noise(d, 3, 22)
        self.liver_vessels = organ_vessels(d, centre=(0.35, 0.0, -0.38), reach=0.5)
        self.bowel = bowel_loops(d)
        self.mesentery = mesenteric_vessels(d)

    @staticmethod
    def _noise(d: Draws, channels: int, knots: int) -> Lattice:
        size = min(3 * knots, 64)
        return Lattice(d.smooth(channels, knots, (size, size, size)), (-1.3, -1.0, -1.3), (1.3, 1.0, 1.3))

    def placed(self, name: str, *centre: float) -> list[float]:
        """An organ's usual centre with this patient's deviation."""
        return [c + s for c, s in zip(centre, self.shift[name])]

    def paint(self, points: torch.Tensor) -> Canvas:
        """Tissue and label at `points` (3, D, H, W) in body units."""
        detail = self.detail(points)
        # Organs are lumpy, not ellipsoids: all shapes are evaluated at slightly displaced points.
        p = points + 0.022 * self.warp(points) + 0.006 * detail
        canvas = Canvas(p)
        skin = superellipse(p, self.half_depth, 1.0 - 0.05 * torch.exp(-(((p[0] + 0.35) / 0.45) ** 2)))
        inside = skin + self.fat + self.wall
        self._wall(canvas, p, skin, detail)
        organs.cavity(self, canvas, inside, detail)
        organs.psoas_and_back(self, canvas)
        organs.chest(self, canvas, inside)
        organs.stomach_and_spleen(self, canvas, inside)
        organs.liver(self, canvas, inside, detail)
        organs.kidneys(self, canvas)
        organs.great_vessels(self, canvas)
        skeleton.spine(self, canvas, skin)
        skeleton.ribs(self, canvas, skin)
        return Canvas(points, canvas.tissue, canvas.label)

    def _wall(self, canvas: Canvas, p: torch.Tensor, skin: torch.Tensor, detail: torch.Tensor) -> None:
        """Skin, subcutaneous fat with its fascia, the layers of the muscular wall."""
        canvas.paint(skin, "skin")
        canvas.paint(skin + 0.014, "subcutaneous fat")
        rim = (skin < -0.02) & (skin > -self.fat)
        canvas.paint((skin + 0.5 * self.fat + 0.02 * detail[0]).abs() - 0.004, "fascia", where=rim)
        canvas.paint(detail[1].abs() * 0.05 - 0.0035, "septum", where=rim)
        muscle = skin + self.fat
        canvas.paint(muscle, "muscle")
        # Layers of the abdominal wall are parted by thin fat; the midline (linea alba) is a fascia.
        canvas.paint((muscle + 0.45 * self.wall + 0.01 * detail[2]).abs() - 0.005, "visceral fat", where=muscle < -0.01)
        canvas.paint(p[2].abs() - 0.018, "fascia", where=(muscle < -0.005) & (p[1] < 0) & (p[0] < 0.45))
