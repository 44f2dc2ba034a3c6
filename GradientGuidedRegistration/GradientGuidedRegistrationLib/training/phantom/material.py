"""What each tissue of one patient looks like in CT and MR: the table of tissues with this patient's own deviations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .draws import Draws
from .tissues import TISSUES

if TYPE_CHECKING:
    from .mr import MrProtocol


@dataclass(frozen=True)
class Material:
    """Properties by tissue, each (N,): CT numbers and texture in HU, MR densities, times in ms, relative texture."""

    hu: torch.Tensor
    ct_texture: torch.Tensor
    density: torch.Tensor
    t1: torch.Tensor
    t2: torch.Tensor
    fat: torch.Tensor
    mr_texture: torch.Tensor

    def mr_signals(self, protocol: MrProtocol) -> tuple[torch.Tensor, torch.Tensor]:
        """The signals of water and of fat for a protocol, each (N,)."""
        from .mr import spin_signal

        t1 = self.t1
        if protocol.sequence == "t1-contrast":
            # Gadolinium shortens T1 where iodine would raise the CT number.
            enhancement = torch.tensor([t.enhancement[1] for t in TISSUES], device=t1.device)
            t1 = 1.0 / (1.0 / t1 + 0.00003 * enhancement) if t1.numel() == enhancement.numel() else t1
        water = spin_signal(self.density * (1 - self.fat), t1, self.t2, protocol.tr, protocol.te)
        fat = spin_signal(
            self.density * self.fat, torch.full_like(t1, 280.0), torch.full_like(t1, 85.0), protocol.tr, protocol.te
        )
        if protocol.sequence in ("t1-fs", "t2-fs", "dixon-water", "t1-contrast"):
            fat = 0.07 * fat
        elif protocol.sequence == "dixon-fat":
            water, fat = 0.05 * water, fat
        return water, fat

    @classmethod
    def of_patient(cls, d: Draws, phase: str) -> Material:
        """The table of tissues for one patient, scanned by CT in a contrast phase of `ct.PHASES`."""
        rows = []
        column = {"arterial": 0, "portal": 1, "delayed": 2}.get(phase)
        timing = d.uniform(0.6, 1.25)
        for tissue in TISSUES:
            air = tissue.density < 0.05
            hu = (
                tissue.hu
                + (0 if column is None else timing * tissue.enhancement[column])
                + (0 if air else d.normal(0, 4))
            )
            ct_texture = tissue.texture * (
                120.0 if "bone" in tissue.name or tissue.name == "marrow" else 55.0 if tissue.name == "lung" else 9.0
            )
            rows.append(
                (
                    hu,
                    ct_texture,
                    max(tissue.density * d.uniform(0.9, 1.1), 0.0),
                    tissue.t1 * d.uniform(0.85, 1.15),
                    tissue.t2 * d.uniform(0.85, 1.15),
                    min(tissue.fat * d.uniform(0.8, 1.05), 1.0),
                    0.07 * tissue.texture,
                )
            )
        return cls(*(torch.tensor(column, device=d.device) for column in zip(*rows)))

    @classmethod
    def of_shapes(cls, d: Draws, count: int) -> Material:
        """Random contrast for `count` labels: nothing can be learned from it but edges."""
        hu = 40.0 + 220.0 * d.vector(-1, 1, count)
        density = d.vector(0.15, 1.0, count)
        t1, t2 = d.vector(250, 2000, count), d.vector(30, 250, count)
        if d.chance(0.5):
            hu[0], density[0] = -1000.0, 0.0
        columns = (
            hu,
            d.vector(2, 14, count),
            density,
            t1,
            t2,
            0.3 * d.vector(0, 1, count),
            0.10 * d.vector(0.2, 1, count),
        )
        return cls(*(column.to(d.device) for column in columns))
