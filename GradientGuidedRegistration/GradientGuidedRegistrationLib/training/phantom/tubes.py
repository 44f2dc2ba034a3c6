"""Branching and winding tubes: vessels of the liver, bowel loops, vessels of the mesentery.

A tree of hundreds of capsules is evaluated once on a lattice around it and interpolated afterwards.
"""

from __future__ import annotations

import torch

from .draws import Draws
from .implicit import capsules
from .lattice import Lattice, tabulate


def organ_vessels(d: Draws, centre: tuple[float, float, float], reach: float) -> Lattice:
    """Two branching trees that enter an organ from below (portal vein) and from above (hepatic veins)."""
    segments: list[list[list[float]]] = []
    roots = [
        ([centre[0] - 0.30, -0.02, centre[2] + 0.26], [0.45, 0.05, -0.6], 0.040),
        ([centre[0] + 0.25, 0.12, centre[2] + 0.25], [-0.5, -0.1, -0.6], 0.036),
        ([centre[0] + 0.25, 0.10, centre[2] + 0.22], [-0.45, -0.5, -0.3], 0.034),
    ]
    for root, heading, radius in roots:
        _branch(d, root, heading, radius, 0.26 * reach / 0.5, 4, segments)
    table = torch.tensor(segments)
    low = [c - r for c, r in zip(centre, (0.55, 0.50, 0.50))]
    high = [c + r for c, r in zip(centre, (0.45, 0.50, 0.75))]
    return tabulate(lambda p: capsules(p, table), low, high, 72, d.device)


def _branch(
    d: Draws, start: list[float], heading: list[float], radius: float, length: float, generations: int, segments: list
) -> None:
    direction = torch.tensor(heading) + 0.35 * d.vector(-1, 1)
    direction = direction / direction.norm()
    end = [s + length * float(v) for s, v in zip(start, direction)]
    thin = radius * 0.78
    segments.append([[*start, radius], [*end, thin]])
    if generations <= 1 or thin < 0.009:
        return
    side = torch.linalg.cross(direction, d.vector(-1, 1))
    side = 0.75 * side / side.norm().clamp_min(1e-3)
    for sign in (1.0, -1.0):
        turned = (direction + sign * side).tolist()
        _branch(d, end, turned, thin * d.uniform(0.75, 0.95), length * d.uniform(0.65, 0.85), generations - 1, segments)


def bowel_loops(d: Draws) -> Lattice:
    """Colon frame and winding small bowel in the lower two thirds of the cavity."""
    segments: list[list[list[float]]] = []
    frame = [
        (-0.85, 0.12, -0.62),
        (-0.45, 0.14, -0.66),
        (-0.10, 0.02, -0.62),
        (-0.12, -0.30, -0.40),
        (-0.20, -0.38, 0.0),
        (-0.05, -0.30, 0.40),
        (0.10, 0.08, 0.66),
        (-0.30, 0.16, 0.68),
        (-0.80, 0.12, 0.62),
        (-1.0, 0.0, 0.3),
    ]
    knots = torch.tensor(frame) + 0.06 * torch.stack([d.vector(-1, 1) for _ in frame])
    radius = d.uniform(0.065, 0.10)
    _rope(knots, radius, d, segments)
    for _ in range(d.integer(3, 5)):
        position = torch.tensor([d.uniform(-1.0, -0.2), d.uniform(-0.35, 0.05), d.uniform(-0.5, 0.5)])
        heading, path = d.vector(-1, 1), []
        for _ in range(d.integer(9, 16)):
            path.append(position)
            heading = heading + 0.9 * d.vector(-1, 1)
            heading = heading / heading.norm().clamp_min(1e-3)
            position = position + 0.14 * heading
            position = torch.maximum(
                torch.minimum(position, torch.tensor([-0.12, 0.06, 0.56])), torch.tensor([-1.15, -0.42, -0.56])
            )
        _rope(torch.stack(path), d.uniform(0.05, 0.075), d, segments)
    table = torch.tensor(segments)
    return tabulate(lambda p: capsules(p, table), (-1.25, -0.6, -0.85), (0.35, 0.35, 0.85), 60, d.device)


def _rope(knots: torch.Tensor, radius: float, d: Draws, segments: list) -> None:
    for start, end in zip(knots[:-1].tolist(), knots[1:].tolist()):
        a, b = radius * d.uniform(0.8, 1.2), radius * d.uniform(0.8, 1.2)
        segments.append([[*start, a], [*end, b]])


def mesenteric_vessels(d: Draws) -> Lattice:
    """A fan of thin vessels through the visceral fat, from the root of the mesentery outwards."""
    segments: list[list[list[float]]] = []
    for _ in range(9):
        heading = [d.uniform(-1.0, 0.6), d.uniform(-0.8, 0.4), d.uniform(-1.0, 1.0)]
        _branch(
            d, [d.uniform(-0.4, 0.2), 0.08, d.uniform(-0.1, 0.1)], heading, d.uniform(0.016, 0.022), 0.26, 4, segments
        )
    table = torch.tensor(segments)
    return tabulate(lambda p: capsules(p, table), (-1.15, -0.65, -0.9), (0.75, 0.5, 0.9), 80, d.device)
