"""Shapes as implicit functions: negative inside, about the distance to the surface outside.

Points are tensors (3, D, H, W) in body units, component order (z superior, y posterior, x left) = array order. One
body unit is half the width of the body.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def ellipsoid(points: torch.Tensor, centre: Sequence[float], radii: Sequence[float], tilt: float = 0.0) -> torch.Tensor:
    """Ellipsoid at `centre` with semi-axes `radii`, tilted by `tilt` radians about the y (front to back) axis."""
    z, y, x = (points[i] - centre[i] for i in range(3))
    if tilt:
        c, s = float(torch.cos(torch.tensor(tilt))), float(torch.sin(torch.tensor(tilt)))
        z, x = c * z - s * x, s * z + c * x
    r = ((z / radii[0]) ** 2 + (y / radii[1]) ** 2 + (x / radii[2]) ** 2).sqrt()
    return (r - 1.0) * min(radii)


def superellipse(
    points: torch.Tensor, half_depth: float, half_width: float | torch.Tensor, power: float = 2.4
) -> torch.Tensor:
    """Cylinder along z whose section is a rounded rectangle: the outline of a trunk. `half_width` may vary with z."""
    y, x = points[1] / half_depth, points[2] / half_width
    r = (y.abs().pow(power) + x.abs().pow(power)).clamp_min(1e-8).pow(1.0 / power)
    return (r - 1.0) * half_depth


def half_space(points: torch.Tensor, through: Sequence[float], normal: Sequence[float]) -> torch.Tensor:
    """Negative on the side that `normal` points away from."""
    n = torch.as_tensor(normal, dtype=torch.float32)
    n = (n / n.norm()).tolist()
    return sum(n[i] * (points[i] - through[i]) for i in range(3))


def tube(points: torch.Tensor, knots: torch.Tensor, radii: torch.Tensor) -> torch.Tensor:
    """A tube through `knots` (N, 3) with a radius at each knot (N,)."""
    starts = torch.cat([knots[:-1], radii[:-1, None]], 1)
    ends = torch.cat([knots[1:], radii[1:, None]], 1)
    return capsules(points, torch.stack([starts, ends], 1))


def capsules(points: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    """Union of tapered capsules. `segments` (N, 2, 4): start and end as (z, y, x, radius)."""
    best = torch.full_like(points[0], 1e3)
    for start, end in segments.tolist():
        axis = [end[i] - start[i] for i in range(3)]
        length2 = max(sum(a * a for a in axis), 1e-9)
        d = [points[i] - start[i] for i in range(3)]
        t = ((d[0] * axis[0] + d[1] * axis[1] + d[2] * axis[2]) / length2).clamp_(0.0, 1.0)
        distance = sum((d[i] - t * axis[i]) ** 2 for i in range(3)).sqrt()
        best = torch.minimum(best, distance - (start[3] + t * (end[3] - start[3])))
    return best


def smooth_union(a: torch.Tensor, b: torch.Tensor, width: float) -> torch.Tensor:
    """Union with a rounded seam of the given width."""
    h = (width - (a - b).abs()).clamp_min(0.0) / width
    return torch.minimum(a, b) - 0.25 * width * h * h


def smooth_cut(a: torch.Tensor, tool: torch.Tensor, width: float) -> torch.Tensor:
    """`a` without the inside of `tool`, with a rounded edge."""
    return -smooth_union(-a, tool, width)
