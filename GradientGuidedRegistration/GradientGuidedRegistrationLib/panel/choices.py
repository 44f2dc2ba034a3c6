"""The choices of the panel: what the user reads, what is saved with the scene, what the registration is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from slicer.i18n import tr as _


class Initialization(Enum):
    """Alignment before the deformable part. The value is that of `Settings.initialization`."""

    NONE = "none"
    RIGID = "rigid"
    AFFINE = "affine"

    def label(self) -> str:
        """What the user reads."""
        return {"none": _("None: the volumes are already aligned"), "rigid": _("Rigid"),
                "affine": _("Affine")}[self.value]  # fmt: skip


class Quality(Enum):
    """How long the result is refined on the pair. The value is that of `Settings.refine`; 0 is the network alone."""

    FAST = 8
    BALANCED = None
    BEST = 120
    OFF = 0

    def label(self) -> str:
        """What the user reads."""
        return {8: _("Fast"), None: _("Balanced"), 120: _("Best"), 0: _("Off: the network alone")}[self.value]


class Model(Enum):
    """The network that gives the first guess. The value is that of `Settings.method`."""

    GATED = "gated"
    AVERAGE = "average"
    CONCATENATED = "vm-concat"
    SINGLE = "vm"
    NONE = "none"

    def label(self) -> str:
        """What the user reads."""
        return {"gated": _("Gradient-guided, gated fusion"), "average": _("Gradient-guided, average fusion"),
                "vm-concat": _("VoxelMorph with gradient maps"), "vm": _("VoxelMorph"),
                "none": _("None: refinement alone")}[self.value]  # fmt: skip


class Device(Enum):
    """Where to compute. The value is that of `Settings.device`."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"

    def label(self) -> str:
        """What the user reads."""
        return {"auto": _("Automatic"), "cpu": _("CPU"), "cuda": _("NVIDIA GPU"), "mps": _("Apple GPU")}[self.value]


@dataclass(frozen=True)
class Preset:
    """A name for a set of options. The options are those of the parameter node."""

    name: str
    options: dict[str, Any]

    def matches(self, parameters: Any) -> bool:
        """Whether the parameter node has these options."""
        return all(getattr(parameters, name) == value for name, value in self.options.items())

    def apply(self, parameters: Any) -> None:
        """Give the parameter node these options."""
        for name, value in self.options.items():
            setattr(parameters, name, value)


def presets() -> list[Preset]:
    """The presets, in the order of the list; what matches none of them is «Custom»."""
    rigid, gated = Initialization.RIGID, Model.GATED
    return [
        Preset(_("Standard"), {"initialization": rigid, "quality": Quality.BALANCED, "model": gated}),
        Preset(_("Quick look"), {"initialization": rigid, "quality": Quality.FAST, "model": gated}),
        Preset(_("Careful"), {"initialization": Initialization.AFFINE, "quality": Quality.BEST, "model": gated}),
        Preset(_("As published: the network alone"), {"initialization": rigid, "quality": Quality.OFF, "model": gated}),
    ]
