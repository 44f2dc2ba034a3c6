"""What a registration is asked to do, as one value that can be checked, stored and repeated."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError

INITIALIZATIONS = ("none", "rigid", "affine")
METHODS = ("gated", "average", "vm", "vm-concat")
DEVICES = ("auto", "cpu", "cuda", "mps")
MINIMUM_SIZE = 16  # voxels along each axis of an image that can be registered


_KINDS: dict[str, tuple[type, ...]] = {
    "method": (str, type(None)),
    "weights": (Path, str, type(None)),
    "use_network": (bool,),
    "initialization": (str,),
    "refine": (int, type(None)),
    "spacing": (float, int, type(None)),
    "device": (str,),
    "seed": (int,),
    "inverse": (bool,),
}


@dataclass(frozen=True)
class Settings:
    """Settings of one registration.

    Attributes:
        method: network ("gated", "average", "vm", "vm-concat"), of which the weights have to be; None takes that of the
            weights, and "gated" where none are given.
        weights: weights file instead of the packaged one; None takes the packaged weights of ``method`` if there are
            any.
        use_network: False refines from the linear alignment alone.
        initialization: "none", "rigid" or "affine" alignment before the deformable part.
        refine: refinement iterations at the finest level; 0 switches refinement off, None takes 30. With 30 or more, a
            pair that lies far apart begins anew and is gone over up to five more times.
        spacing: working spacing in mm, None chooses it from the images.
        device: "auto", "cpu", "cuda" or "mps".
        seed: seed of everything random.
        inverse: also compute the inverse field.

    Raises:
        InputError: a value of another type or out of range.
    """

    method: str | None = None
    weights: Path | None = None
    use_network: bool = True
    initialization: str = "rigid"
    refine: int | None = None
    spacing: float | None = None
    device: str = "auto"
    seed: int = 0
    inverse: bool = False

    def __post_init__(self) -> None:
        for name, kinds in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise InputError(f"The setting {name} cannot be {value!r:.200}.")
        if self.method is not None:
            _check_choice("method", self.method, METHODS)
        _check_choice("initialization", self.initialization, INITIALIZATIONS)
        _check_choice("device", self.device, DEVICES)
        if not 0 <= self.seed < 2**32:
            raise InputError(f"The seed is {self.seed!r}; give a whole number from 0 to {2**32 - 1}.")
        if self.refine is not None and not 0 <= self.refine <= 10_000:
            raise InputError(f"The number of refinement iterations is {self.refine}; give 0 (off) to 10000.")
        if self.spacing is not None and not 0.05 <= self.spacing <= 20:
            raise InputError(f"The working spacing is {self.spacing:g} mm; give 0.05 to 20 mm.")

    @property
    def is_refined(self) -> bool:
        """Whether the displacement is refined on the pair, or a network's taken as it is."""
        return self.refine != 0

    def plain(self) -> dict[str, Any]:
        """The settings by name, as JSON takes them."""
        return {**asdict(self), "weights": None if self.weights is None else str(self.weights)}


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"Unknown {name} '{value:.200}'; choose one of {', '.join(choices)}.")
