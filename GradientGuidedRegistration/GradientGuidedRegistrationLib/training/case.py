"""One training pair as the network and the loss take it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """A pair on one grid, tensors (B, 1, D, H, W).

    Attributes:
        fixed, moving: intensities in [0, 1], float32; what the network sees.
        moving_full: the moving image as the objective compares it, -1 to 2 for a CT: cut at the soft-tissue window, an
            edge against air or bone seems to lie elsewhere than the same edge in an MR.
        fixed_mask, moving_mask: 1 where the scanner has measured, or None.
        fixed_labels, moving_labels: integers or None; 0 is background.
        displacement: the true field (B, 3, D, H, W) in voxels of array order, fixed to moving points, or None.
        spacing: mm (D, H, W).
        names: names of the pairs in the batch.
        label_names: name by label value, of the labels that are scored.
    """

    fixed: Tensor
    moving: Tensor
    moving_full: Tensor
    fixed_mask: Tensor | None = None
    moving_mask: Tensor | None = None
    fixed_labels: Tensor | None = None
    moving_labels: Tensor | None = None
    displacement: Tensor | None = None
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    names: tuple[str, ...] = ()
    label_names: dict[int, str] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are there, by name."""
        found = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return found

    def to(self, device: torch.device) -> Case:
        """The same case on a device."""
        ahead = device.type == "cuda"  # what is brought back would be read before it is there
        moved = {name: value.to(device, non_blocking=ahead) for name, value in self.tensors().items()}
        return replace(self, **moved)  # type: ignore[arg-type]

    def pin_memory(self) -> Case:
        """The same case where a GPU reads it while other work goes on; PyTorch's loader asks for it by this name."""
        return replace(self, **{name: value.pin_memory() for name, value in self.tensors().items()})  # type: ignore[arg-type]

    def without_labels(self) -> Case:
        """The same case with what training does not look at left out."""
        return replace(self, fixed_labels=None, moving_labels=None, displacement=None)


def join(cases: list[Case]) -> Case:
    """A batch of cases of one size. Something that not all of them have is left out, masks are filled with ones.

    Own pairs are read from files and phantoms may be made on a GPU: then that is where the batch is.
    """
    if len(cases) == 1:
        return cases[0]
    device = next((case.fixed.device for case in cases if case.fixed.device.type != "cpu"), cases[0].fixed.device)
    cases = [case.to(device) for case in cases]
    joined: dict[str, Any] = {}
    for name in ("fixed", "moving", "moving_full", "fixed_labels", "moving_labels", "displacement"):
        values = [getattr(case, name) for case in cases]
        joined[name] = None if any(value is None for value in values) else torch.cat(values)
    for name in ("fixed_mask", "moving_mask"):
        values = [getattr(case, name) for case in cases]
        if any(value is not None for value in values):
            values = [torch.ones_like(case.fixed) if value is None else value for case, value in zip(cases, values)]
            joined[name] = torch.cat(values)
    return Case(
        **joined,
        spacing=cases[0].spacing,
        names=tuple(n for case in cases for n in case.names),
        label_names=cases[0].label_names,
    )


def background(values: Tensor) -> float:
    """What fills the space around an image, mask or label map: 0, or in a full CT its darkest."""
    return min(0.0, float(values.amin()))
