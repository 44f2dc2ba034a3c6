"""What a comparison is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ...registration.settings import DEVICES, INITIALIZATIONS


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
            of them by ascending value.
        initialization: linear alignment before the deformable part: "none", "rigid" or "affine".
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        InputError: an unknown name, a number out of range, or no folder of weights.
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
    organs: tuple[str, ...] = ("liver", "spleen", "kidneys")
    initialization: str = "none"
    device: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", Path(self.output))
        for name in ("data", "weights"):
            object.__setattr__(self, name, None if getattr(self, name) is None else Path(getattr(self, name)))
        for name in ("shape", "rows", "organs"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
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
