"""What a comparison is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...registration.settings import DEVICES, INITIALIZATIONS, METHODS

ORGANS = ("liver", "spleen", "kidneys")
"""The labels of phantoms that get columns of their own, as in the paper."""
_OF_PHANTOMS = ("cases", "first_seed", "shape", "spacing", "strength")


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of one comparison.

    Attributes:
        output: folder for table.txt, table.csv, measures.csv and table.svg.
        data: folder or CSV of own pairs with segmentations (see `case_table.read_cases`; those of the split "test", or
            if there are none, all that are not said to be for training); None takes held-out phantoms.
        cases, first_seed, shape, spacing, strength: how many phantoms, their first number (below 900000: never trained
            on), their size (D, H, W), voxel size in mm and the factor on their deformation.
        rows: names of the methods, see `methods.ROWS`; empty for all.
        weights: folder with gated.pt, average.pt, ...; None takes the packaged ones. Rows without weights are left out
            and named in the table.
        organs: names of the labels that get columns of their own ("label 3" in own pairs), in this order; if empty, all
            of them by ascending value; None takes `ORGANS` for phantoms, all of own pairs.
        initialization: linear alignment before the deformable part: "none", "rigid" or "affine".
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        InputError: an unknown name, a number out of range, or no folder of weights, or none in it.
    """

    output: Path
    data: Path | None = None
    cases: int = 5
    first_seed: int = 0
    shape: tuple[int, int, int] = (144, 144, 128)
    spacing: float = 1.0
    strength: float = 1.0
    rows: tuple[str, ...] = ()
    weights: Path | None = None
    organs: tuple[str, ...] | None = None
    initialization: str = "none"
    device: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", Path(self.output))
        for name in ("data", "weights"):
            object.__setattr__(self, name, None if getattr(self, name) is None else Path(getattr(self, name)))
        for name in ("shape", "rows"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.organs is not None:
            object.__setattr__(self, "organs", tuple(self.organs))
        from .methods import ROWS

        unknown = [name for name in self.rows if name not in ROWS]
        if unknown:
            raise InputError(f"Unknown rows {', '.join(unknown)}; choose from {', '.join(ROWS)}.")
        if self.cases < 1:
            raise InputError(f"The number of cases is {self.cases}; it must be at least 1.")
        if not isinstance(self.first_seed, int) or self.first_seed < 0:
            raise InputError(f"The first seed is {self.first_seed!r:.40}; give a whole number of 0 or more.")
        if self.first_seed > 900_000 - self.cases:
            raise InputError("Phantoms from number 900000 on are for training and validation; give a lower first seed.")
        for name, choices in (("initialization", INITIALIZATIONS), ("device", DEVICES)):
            if getattr(self, name) not in choices:
                raise InputError(f"Unknown {name} {getattr(self, name)!r}; choose one of {', '.join(choices)}.")
        if self.weights is not None and not self.weights.is_dir():
            raise InputError(f"The weights folder {self.weights} does not exist; it should hold gated.pt and so on.")
        files = [f"{name}.pt" for name in METHODS]
        if self.weights is not None and not any((self.weights / file).is_file() for file in files):
            raise InputError(
                f"The weights folder {self.weights} holds none of {', '.join(files)}; copy or link "
                "best.pt of a run to the name of its method, gated.pt for example."
            )

    @property
    def organ_columns(self) -> tuple[str, ...]:
        """Names of the labels with columns of their own, as `organs`; empty for all."""
        return self.organs if self.organs is not None else ORGANS if self.data is None else ()


def with_given(output: Path | str, **given: Any) -> EvaluationSettings:
    """Settings with what is given explicitly, and is not None, in place of the defaults.

    Raises:
        InputError: a setting of phantoms beside own pairs, or a value that cannot be.
    """
    given = {name: value for name, value in given.items() if value is not None}
    idle = ["--" + ("size" if name == "shape" else name.replace("_", "-")) for name in _OF_PHANTOMS if name in given]
    if idle and "data" in given:
        raise InputError(
            f"{', '.join(idle)}: of use with phantoms only, and --data is given. Leave out one or the other."
        )
    return EvaluationSettings(Path(output), **given)
