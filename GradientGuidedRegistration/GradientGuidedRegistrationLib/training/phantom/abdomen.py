"""A labelled abdomen, its anatomy drawn from a seed.

The anatomy is a function of space: it can be asked for the tissue at any point, so that the deformed image is as sharp as the other.
Coordinates are body units (z superior, y posterior, x left; 1 = half the width of the body), the patient lies on the back.
"""

from __future__ import annotations

import math

import torch

from . import implicit as shape
from .canvas import Canvas
from .draws import Draws
from .lattice import Lattice
from .tubes import bowel_loops, mesenteric_vessels, organ_vessels


class Abdomen:
    """One patient. `Abdomen(draws).paint(points)` gives the tissue and label at each point."""

    def __init__(self, draws: Draws):
        d = draws
        self.half_depth = d.uniform(0.62, 0.74)
        self.fat = d.uniform(0.03, 0.12)
        self.wall = d.uniform(0.055, 0.085)
        self.size = {name: d.uniform(0.88, 1.12) for name in
                     ("liver", "spleen", "kidney left", "kidney right", "stomach", "gallbladder", "heart", "spine", "vessel")}
        self.shift = {name: d.vector(-0.035, 0.035).tolist() for name in self.size}
        self.tilt = {side: d.uniform(0.05, 0.30) for side in ("left", "right")}
        self.dome = d.uniform(0.62, 0.74)
        self.disc_phase, self.disc_pitch = d.uniform(0, 1), d.uniform(0.19, 0.22)
        self.rib_phase, self.rib_pitch, self.rib_slope = d.uniform(0, 1), d.uniform(0.17, 0.20), d.uniform(0.35, 0.60)
        self.gas_level = d.uniform(0.1, 0.8)
        self.stomach_level = d.uniform(-0.32, -0.10)
        self.lobulation = d.uniform(0.10, 0.18)
        self.liver_cut = (d.uniform(-0.05, 0.12), d.uniform(0.05, 0.15), d.uniform(-0.28, -0.15))
        self.tumours = self._draw_tumours(d)
        self.warp = self._noise(d, 3, 9)
        self.detail = self._noise(d, 3, 26)
        self.liver_vessels = organ_vessels(d, centre=(0.35, 0.0, -0.38), reach=0.5)
        self.bowel = bowel_loops(d)
        self.mesentery = mesenteric_vessels(d)

    @staticmethod
    def _noise(d: Draws, channels: int, knots: int) -> Lattice:
        size = min(3 * knots, 64)
        return Lattice(d.smooth(channels, knots, (size, size, size)), (-1.3, -1.0, -1.3), (1.3, 1.0, 1.3))

    @staticmethod
    def _draw_tumours(d: Draws) -> list[tuple[list[float], list[float]]]:
        found = []
        for _ in range(d.integer(1, 5)):
            centre = [d.uniform(0.12, 0.55), d.uniform(-0.20, 0.25), d.uniform(-0.65, -0.10)]
            radius = d.uniform(0.04, 0.12)
            found.append((centre, [radius * d.uniform(0.8, 1.25) for _ in range(3)]))
        return found

    def _placed(self, name: str, *centre: float) -> list[float]:
        return [c + s for c, s in zip(centre, self.shift[name])]

    def paint(self, points: torch.Tensor) -> Canvas:
        """Tissue and label at `points` (3, D, H, W) in body units."""
        detail = self.detail(points)
        p = points + 0.022 * self.warp(points) + 0.006 * detail
        canvas = Canvas(points)
        cavity = self._trunk(canvas, p, detail)
        inside = shape.superellipse(p, self.half_depth - self.fat - self.wall, 1.0 - self.fat - self.wall)
        self._mesentery_and_bowel(canvas, p, inside, detail)
        self._retroperitoneum(canvas, p)
        self._chest(canvas, p, cavity)
        self._upper_organs(canvas, p, inside, detail)
        self._kidneys(canvas, p)
        self._great_vessels(canvas, p)
        self._spine(canvas, p)
        self._ribs(canvas, points, p)
        return canvas

    def _trunk(self, canvas: Canvas, p: torch.Tensor, detail: torch.Tensor) -> torch.Tensor:
        """Skin, subcutaneous fat with its fascia, the muscular wall; returns the distance to the inside of the wall."""
        waist = 1.0 - 0.05 * torch.exp(-((p[0] + 0.35) / 0.45) ** 2)
        skin = shape.superellipse(p, self.half_depth, waist)
        canvas.paint(skin, "skin")
        canvas.paint(skin + 0.014, "subcutaneous fat")
        canvas.paint((skin + 0.5 * self.fat + 0.02 * detail[0]).abs() - 0.004, "fascia", where=skin < -0.02)
        canvas.paint(detail[1].abs() * 0.05 - 0.0035, "septum", where=(skin < -0.02) & (skin > -self.fat))
        muscle = shape.superellipse(p, self.half_depth - self.fat, waist - self.fat)
        canvas.paint(muscle, "muscle")
        # Layers of the abdominal wall are parted by thin fat; the midline (linea alba) is a fascia.
        canvas.paint((muscle + 0.45 * self.wall + 0.01 * detail[2]).abs() - 0.005, "visceral fat", where=muscle < -0.01)
        midline = (p[2].abs() - 0.018).where(p[1] < 0, torch.full_like(p[2], 1.0))
        canvas.paint(midline, "fascia", where=(muscle < -0.005) & (p[0] < 0.45))
        return muscle + self.wall

    def _mesentery_and_bowel(self, canvas: Canvas, p: torch.Tensor, inside: torch.Tensor, detail: torch.Tensor) -> None:
        canvas.paint(inside, "visceral fat")
        cavity = inside < 0
        canvas.paint(detail[0].abs() * 0.06 - 0.003, "septum", where=cavity)
        canvas.paint(self.mesentery(p)[0], "mesenteric vessel", where=cavity)
        loops = self.bowel(p)[0] + 0.012 * detail[1]
        canvas.paint(loops, "bowel wall", where=inside < -0.02)
        lumen = loops + 0.020
        canvas.paint(lumen, "bowel content", where=inside < -0.035)
        # Gas rises: it is found in front, in stretches along the loops.
        gas = lumen + 0.02 + 0.10 * (p[1] + 0.15) - 0.05 * (self.gas_level - 0.5) + 0.03 * self.warp(p * 1.7)[0]
        canvas.paint(torch.maximum(lumen + 0.01, gas), "bowel gas", where=inside < -0.04)

    def _retroperitoneum(self, canvas: Canvas, p: torch.Tensor) -> None:
        depth = 0.5 * self.half_depth
        for side in (-1.0, 1.0):
            widening = 0.17 + 0.10 * (0.2 - p[0]).clamp(0, 1.2)
            r = (((p[2] - side * widening) / (0.055 + 0.05 * (0.2 - p[0]).clamp(0, 1.0))) ** 2
                 + ((p[1] - depth + 0.02) / 0.09) ** 2).sqrt()
            canvas.paint((r - 1.0) * 0.06, "muscle", where=p[0] < 0.25)
            back = (((p[2] - side * 0.20) / 0.17) ** 2 + ((p[1] - self.half_depth + self.fat + 0.11) / 0.10) ** 2).sqrt()
            canvas.paint((back - 1.0) * 0.1, "muscle")
            canvas.paint((back - 0.55).abs() * 0.1 - 0.004, "visceral fat", where=back < 0.8)

    def _dome(self, p: torch.Tensor) -> torch.Tensor:
        """Height of the diaphragm over (y, x): two domes, the right one higher."""
        right = torch.exp(-((p[2] + 0.42) / 0.42) ** 2 - (p[1] / 0.5) ** 2)
        left = torch.exp(-((p[2] - 0.45) / 0.38) ** 2 - ((p[1] + 0.02) / 0.5) ** 2)
        return self.dome - 0.42 + 0.44 * torch.maximum(right, 0.90 * left)

    def _chest(self, canvas: Canvas, p: torch.Tensor, cavity: torch.Tensor) -> None:
        above = self._dome(p) - p[0]
        canvas.paint(torch.maximum(above - 0.018, cavity + 0.01), "muscle")
        canvas.paint(torch.maximum(above, cavity + 0.02), "lung")
        mediastinum = torch.maximum(p[2].abs() - 0.16, above)
        canvas.paint(torch.maximum(mediastinum, cavity + 0.02), "visceral fat")
        centre = self._placed("heart", self.dome + 0.28, -0.22, 0.16)
        heart = shape.ellipsoid(p, centre, [r * self.size["heart"] for r in (0.26, 0.26, 0.33)], tilt=0.4)
        canvas.paint(torch.maximum(heart, above - 0.01), "heart", where=cavity < -0.03)

    def _upper_organs(self, canvas: Canvas, p: torch.Tensor, inside: torch.Tensor, detail: torch.Tensor) -> None:
        below = p[0] - self._dome(p) + 0.035
        room = torch.maximum(inside + 0.02, below)
        k = self.size["stomach"]
        stomach = shape.smooth_union(
            shape.ellipsoid(p, self._placed("stomach", 0.36, 0.02, 0.42), [0.22 * k, 0.20 * k, 0.21 * k]),
            shape.ellipsoid(p, self._placed("stomach", 0.10, -0.24, 0.26), [0.14 * k, 0.13 * k, 0.26 * k], tilt=-0.5), 0.12)
        stomach = torch.maximum(stomach, room)
        canvas.paint(stomach, "stomach wall")
        canvas.paint(stomach + 0.022, "stomach content")
        canvas.paint(torch.maximum(stomach + 0.026, p[1] - self.stomach_level), "bowel gas", label="stomach")
        k = self.size["spleen"]
        spleen = shape.ellipsoid(p, self._placed("spleen", 0.30, 0.17, 0.62), [0.27 * k, 0.25 * k, 0.17 * k], tilt=-0.25)
        hilum = shape.ellipsoid(p, self._placed("spleen", 0.28, 0.08, 0.40), [0.22 * k, 0.20 * k, 0.16 * k])
        canvas.paint(torch.maximum(shape.smooth_cut(spleen, hilum, 0.05), room), "spleen")
        liver = self._liver(p, room)
        canvas.paint(liver, "liver")
        vessels = self.liver_vessels(p)[0]
        canvas.paint(vessels, "liver vessel", where=liver < -0.03)
        for centre, radii in self.tumours:
            tumour = shape.ellipsoid(p, centre, radii) + 0.012 * detail[2]
            canvas.paint(tumour, "tumour", where=liver < -0.01)
        k = self.size["gallbladder"]
        bladder = shape.ellipsoid(p, self._placed("gallbladder", self.liver_cut[0] + 0.02, -0.20, -0.30), [0.13 * k, 0.10 * k, 0.075 * k], tilt=0.5)
        canvas.paint(torch.maximum(bladder, room), "gallbladder")

    def _liver(self, p: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
        k = self.size["liver"]
        right = shape.ellipsoid(p, self._placed("liver", 0.22, 0.02, -0.43), [0.52 * k, 0.47 * k, 0.43 * k])
        left = shape.ellipsoid(p, self._placed("liver", 0.40, -0.26, 0.06), [0.20 * k, 0.20 * k, 0.38 * k], tilt=-0.25)
        whole = shape.smooth_union(right, left, 0.15)
        visceral = -shape.half_space(p, self.liver_cut, (-0.75, 0.35, 0.50))
        whole = shape.smooth_cut(whole, visceral, 0.10)
        notch = shape.ellipsoid(p, (0.22, -0.42, -0.10), (0.25, 0.16, 0.035))
        return torch.maximum(shape.smooth_cut(whole, notch, 0.05), room)

    def _kidneys(self, canvas: Canvas, p: torch.Tensor) -> None:
        for side, name, z in ((1.0, "left", -0.05), (-1.0, "right", -0.14)):
            k = self.size[f"kidney {name}"]
            centre = self._placed(f"kidney {name}", z, 0.24, side * 0.40)
            radii = [0.27 * k, 0.135 * k, 0.145 * k]
            kidney = shape.ellipsoid(p, centre, radii, tilt=side * self.tilt[name])
            sinus = shape.ellipsoid(p, [centre[0], centre[1] - 0.03, centre[2] - side * 0.085 * k],
                                    [0.13 * k, 0.05 * k, 0.10 * k], tilt=side * self.tilt[name])
            capsule = shape.ellipsoid(p, centre, [r + 0.05 for r in radii], tilt=side * self.tilt[name])
            canvas.paint(capsule, "visceral fat", where=canvas.is_tissue("bowel wall", "bowel content", "bowel gas"))
            canvas.paint(kidney, "kidney cortex")
            angle = torch.atan2(p[1] - centre[1], side * (p[2] - centre[2]))
            pyramids = torch.cos(4.0 * angle) + torch.cos((p[0] - centre[0]) * 2 * math.pi / 0.15)
            canvas.paint(kidney + 0.045 * k - 0.012 * pyramids, "kidney medulla")
            canvas.paint(sinus, "visceral fat", label="fat")

    def _great_vessels(self, canvas: Canvas, p: torch.Tensor) -> None:
        k, depth = self.size["vessel"], 0.5 * self.half_depth - 0.135
        for name, x, width in (("aorta", 0.055, 0.062), ("cava", -0.105, 0.070)):
            sway = 0.02 * torch.sin(2.5 * p[0] + self.rib_phase * 6)
            r = (((p[2] - x - sway) / width) ** 2 + ((p[1] - depth) / (0.062 if name == "aorta" else 0.052)) ** 2).sqrt()
            tube = (r - k) * 0.06
            canvas.paint(tube, name, where=p[0] < self.dome if name == "cava" else None)
            for side, reach in ((1.0, 0.36), (-1.0, -0.36)):
                branch = shape.capsules(p, torch.tensor([[[-0.10, depth, x, 0.020], [-0.11, 0.24, reach - 0.05 * side, 0.014]]]))
                canvas.paint(branch, name, where=canvas.is_tissue("visceral fat", "septum", "mesenteric vessel"))

    def _spine(self, canvas: Canvas, p: torch.Tensor) -> None:
        k, depth = self.size["spine"], 0.5 * self.half_depth + 0.055
        body = ((p[2] / (0.145 * k)) ** 2 + ((p[1] - depth) / (0.115 * k)) ** 2).sqrt()
        body = (body - 1.0) * 0.12
        cycle = torch.remainder(p[0] / self.disc_pitch + self.disc_phase, 1.0)
        arch = depth + 0.115 * k + 0.055
        posterior = torch.maximum((p[2].abs() - 0.025), (p[1] - arch - 0.16).abs() - 0.13)
        spinous = posterior.where((cycle > 0.35) & (cycle < 0.8), torch.ones_like(posterior))
        transverse = torch.maximum((p[1] - arch).abs() - 0.032, p[2].abs() - 0.27)
        transverse = transverse.where((cycle > 0.45) & (cycle < 0.75), torch.ones_like(transverse))
        ring = (((p[2] / 0.115) ** 2 + ((p[1] - arch) / 0.085) ** 2).sqrt() - 1.0) * 0.09
        bone = torch.minimum(torch.minimum(body, ring), torch.minimum(spinous, transverse))
        bone = torch.maximum(bone, shape.superellipse(p, self.half_depth - self.fat, 1.0) + 0.02)
        canvas.paint(bone, "cortical bone", label="spine")
        canvas.paint(bone + 0.018, "marrow", label="spine")
        canvas.paint(body, "disc", where=cycle < 0.24)
        endplate = ((cycle > 0.24) & (cycle < 0.31)) | (cycle > 0.94)
        canvas.paint(body, "cortical bone", label="spine", where=endplate)
        canvas.paint((((p[2] / 0.072) ** 2 + ((p[1] - arch) / 0.055) ** 2).sqrt() - 1.0) * 0.06, "spinal canal")

    def _ribs(self, canvas: Canvas, points: torch.Tensor, p: torch.Tensor) -> None:
        middle = shape.superellipse(points, self.half_depth - self.fat - 0.5 * self.wall, 0.985 - self.fat - 0.5 * self.wall)
        height = (points[0] + self.rib_slope * (0.35 - points[1])) / self.rib_pitch + self.rib_phase
        along = (torch.remainder(height, 1.0) - 0.5).abs() * self.rib_pitch
        rib = ((middle / 0.026) ** 2 + (along / 0.046) ** 2).sqrt()
        rib = (rib - 1.0) * 0.03
        # The cage ends at the costal margin, which rises toward the front, and the ribs turn to cartilage there.
        cage = (points[0] > 0.02 - 0.55 * (points[1] + 0.1)) & (points[2].abs() > 0.14) & (points[1] > -0.45)
        canvas.paint(rib, "cortical bone", label="ribs", where=cage)
        canvas.paint(rib + 0.013, "marrow", label="ribs", where=cage)
