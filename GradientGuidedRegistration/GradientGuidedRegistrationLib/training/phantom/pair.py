"""One generated pair on one voxel grid: a fixed MR, a moving CT, their labels and the true deformation between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ...errors import InputError
from .abdomen import Abdomen
from .ct import PHASES, CtProtocol, render_ct
from .deformation import draw_deformation, rotation
from .draws import Draws
from .lattice import Lattice
from .material import Material
from .mr import SEQUENCES, MrProtocol, render_mr
from .shapes import RandomShapes
from .tissues import LABELS

KINDS = ("abdomen", "shapes")


@dataclass(frozen=True)
class PhantomPair:
    """Tensors (1, C, D, H, W) on a common grid, array order (D, H, W) = (superior, posterior, left).

    Attributes:
        fixed: MR in scanner units, float32.
        moving: CT in HU, float32.
        fixed_labels, moving_labels: uint8, 0 is background.
        displacement: the truth, voxels, component order = array order: the anatomy at x of the fixed image lies at
            x + displacement(x) of the moving image.
        label_names: name by label value.
        spacing: mm, the same along each axis.
        description: how the two images were rendered.
    """

    fixed: torch.Tensor
    moving: torch.Tensor
    fixed_labels: torch.Tensor
    moving_labels: torch.Tensor
    displacement: torch.Tensor
    label_names: dict[int, str]
    spacing: float
    description: dict[str, object]


def phantom_pair(
    seed: int,
    shape: tuple[int, int, int] = (144, 144, 128),
    spacing: float = 1.0,
    kind: str = "abdomen",
    device: str | torch.device = "cpu",
    *,
    strength: float = 1.0,
    rigid: float = 1.0,
    zoom: float = 1.0,
    turn: float = 0.0,
    sequence: str | None = None,
    phase: str | None = None,
) -> PhantomPair:
    """Generate the pair number `seed`; the same arguments give the same pair.

    Args:
        seed: number of the pair, a whole number below 2^32 (of a seed, PyTorch's generator looks at 32 bits).
        shape: (D, H, W). The body fills the field of view whatever its size.
        spacing: voxel size in mm (0.05 to 20), written into the result.
        kind: "abdomen", or "shapes" for contrast-free random shapes.
        device: where the tensors are made.
        strength: factor on the deformation, 0 to 5; 0 gives an aligned pair if `rigid` is 0, too.
        rigid: factor on the residual rigid error.
        zoom: 1 to 8; above 1 the field of view is a part of the body, at a random place: the crop of a larger volume.
        turn: the body lies askew to the grid, by up to so many degrees (0 to 90) about each axis.
        sequence: MR sequence (see `mr.SEQUENCES`) instead of a random one.
        phase: CT contrast phase (see `ct.PHASES`) instead of a random one.

    Raises:
        InputError: unknown kind, sequence or phase, fewer than 16 voxels along an axis, or a number out of range.
    """
    for what, value, known in (("kind", kind, KINDS), ("sequence", sequence, SEQUENCES), ("phase", phase, PHASES)):
        if value is not None and value not in known:
            raise InputError(f"The phantom's {what} {value!r} is unknown; choose one of {', '.join(known)}.")
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(f"The phantom's seed is {seed!r:.40}; give a whole number from 0 to {2**32 - 1}.")
    for what, number, low, high in (
        ("spacing in mm", spacing, 0.05, 20),
        ("strength", strength, 0, 5),
        ("zoom", zoom, 1, 8),
        ("turn in degrees", turn, 0, 90),
    ):
        if not low <= number <= high:
            raise InputError(f"The phantom's {what} is {number}; give {low} to {high}.")
    if len(shape) != 3 or min(shape) < 16:
        raise InputError(f"A phantom needs at least 16 voxels along each of three axes; got {tuple(shape)}.")
    with torch.no_grad():
        return _generate(
            Draws(seed, device),
            tuple(int(s) for s in shape),
            float(spacing),
            kind,
            strength,
            rigid,
            zoom,
            turn,
            sequence,
            phase,
        )


def _generate(d: Draws, shape, spacing, kind, strength, rigid, zoom, turn, sequence, phase) -> PhantomPair:
    unit = d.uniform(0.47, 0.54) * min(shape[2], shape[1] / 0.85) * zoom
    points = body_points(shape, unit, zoom, d)
    axes = rotation([math.radians(a) for a in d.vector(-turn, turn)] if turn else (0.0,) * 3).to(points)
    points = torch.einsum("ij,jdhw->idhw", axes, points)
    ct, mr = CtProtocol.draw(d), MrProtocol.draw(d, sequence)
    if phase is not None:
        ct = CtProtocol(**{**vars(ct), "phase": phase})
    subject: Abdomen | RandomShapes
    if kind == "abdomen":
        subject, material, names = Abdomen(d), Material.of_patient(d, ct.phase), dict(enumerate(LABELS))
    else:
        subject = shapes = RandomShapes(d)
        material, names = Material.of_shapes(d, shapes.count), {i: f"shape {i}" for i in range(shapes.count)}
    displacement = draw_deformation(d, points, unit, zoom, strength, rigid, axes)
    texture = [
        Lattice(d.smooth(1, knots, (size,) * 3), (-1.3, -1.0, -1.3), (1.3, 1.0, 1.3))
        for knots, size in ((16, 48), (52, 104))
    ]
    deformed = points + torch.einsum("ij,jdhw->idhw", axes, displacement[0]) / unit
    moving_canvas, fixed_canvas = subject.paint(points), subject.paint(deformed)
    moving = render_ct(moving_canvas, torch.cat([t(points) for t in texture]), points, material, ct, d)
    fixed = render_mr(fixed_canvas, torch.cat([t(deformed) for t in texture]), material, mr, unit, d)
    return PhantomPair(
        fixed,
        moving,
        fixed_canvas.label[None, None],
        moving_canvas.label[None, None],
        displacement,
        names,
        spacing,
        {"kind": kind, "ct": vars(ct), "mr": vars(mr)},
    )


def body_points(shape: tuple[int, int, int], unit: float, zoom: float, d: Draws) -> torch.Tensor:
    """Positions (3, D, H, W) of the voxels in body units; a field of view of a part of the body lies anywhere in it."""
    axes = []
    for size, reach in zip(shape, (0.7, 0.35, 0.65)):
        centre = d.normal(0, 0.03) + d.uniform(-1, 1) * reach * (1.0 - 1.0 / zoom)
        axes.append((torch.arange(size, dtype=torch.float32, device=d.device) - 0.5 * (size - 1)) / unit + centre)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))
