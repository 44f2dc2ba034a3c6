"""What a training is asked to do, as one value that is checked, stored with the run and compared when it is resumed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..registration.settings import INITIALIZATIONS, METHODS

if TYPE_CHECKING:
    from ..model import RegistrationLoss

SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "bfloat16", "float16")

# What may differ between a run and its resumption: it changes neither the data nor the mathematics of a step.
FREE_ON_RESUME = frozenset(
    {"output", "resume", "device", "workers", "checkpoint_every", "steps", "time_limit", "threads"}
)

# Files, which may lie elsewhere: what is in them is compared, by `checkpoint`.
_FILES = ("data", "weights")

# Of no use without own pairs.
OF_OWN_PAIRS = ("crop", "spacing", "initialization", "phantom_fraction")

# Of no use with own pairs: the first ones never, as own pairs validate, the others where no phantom is among them.
OF_VALIDATION_PHANTOMS = ("validation_cases", "validation_shape")
OF_TRAINING_PHANTOMS = ("zoom", "shapes_fraction", "reuse")

# Of no use to a network of one branch.
OF_GRADIENT_BRANCH = ("alpha", "beta")
_ONE_BRANCH = ("vm", "vm-concat")


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of one training run.

    Attributes:
        output: folder of the run; made if needed, must not hold another run unless `resume` is set.
        data: folder or CSV of own pairs; None trains on phantoms alone.
        method: "gated", "average", "vm" or "vm-concat".
        preset: objective and weights of its terms, see `PRESETS`.
        steps: optimiser steps in all. With the cosine schedule it is part of the mathematics.
        learning_rate: of Adam; `schedule` "constant" or "cosine" (with a warm-up of 2 % of the steps).
        shape: voxels (D, H, W) of a pair; with `coarse_first` the network sees half of them along each axis.
        spacing: working voxel size of own files in mm.
        coarse_first: every other step shows the network the pair at half resolution; the other steps show it a crop of
            half the size of what that pass leaves. The weights are then used that way (`model.passes`).
        crop: own files: a random crop of `shape` each step instead of the middle of the volume.
        zoom: phantoms: range of the body's size relative to `shape`; above 1 a part of the body is seen.
        shapes_fraction: share of contrast-free random shapes among the phantoms.
        phantom_fraction: share of phantoms, on the mean, where own files are given, too.
        reuse: steps that each phantom is used for, flipped differently each time (for slow processors).
        augment: flips and contrast; own files get a small random warp, too.
        initialization: own files: "none", "rigid" or "affine" alignment before they are used.
        batch: pairs in a step, for each process.
        alpha, beta, gamma: weights of eq. 2 instead of those of the preset.
        descriptor: "mind" or "mind-ssc" instead of that of the preset.
        precision: "float32", "bfloat16" or "float16" (autocast; the last two on a GPU only).
        seed: of the weights and of the order and content of the data.
        workers: processes that prepare data; 0 prepares it in the training process, on the training device.
        threads: CPU threads; 0 leaves PyTorch's choice.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        validate_every, checkpoint_every: steps.
        validation_cases: number of phantoms to validate on (own files: those of the split "validation").
        validation_shape: voxels of those phantoms, which show the whole body; None takes `shape`.
        weights: weights files (or one) to start from, from their mean if there are several; empty for random ones.
        time_limit: stop with a checkpoint after so many minutes from the start, preparation included; 0 for none.
        resume: continue the run that is in `output`.

    Raises:
        InputError: an unknown name, or a number out of range.
    """

    output: Path
    data: Path | None = None
    method: str = "gated"
    preset: str = "default"
    steps: int = 20_000
    learning_rate: float = 3e-4
    schedule: str = "cosine"
    shape: tuple[int, int, int] = (144, 144, 128)
    coarse_first: bool = True
    spacing: float = 1.0
    crop: bool = False
    zoom: tuple[float, float] = (1.0, 1.5)
    shapes_fraction: float = 0.25
    phantom_fraction: float = 0.0
    reuse: int = 1
    augment: bool = True
    initialization: str = "none"
    batch: int = 1
    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None
    descriptor: str | None = None
    precision: str = "float32"
    seed: int = 0
    workers: int = 0
    threads: int = 0
    device: str = "auto"
    validate_every: int = 500
    checkpoint_every: int = 250
    validation_cases: int = 5
    validation_shape: tuple[int, int, int] | None = None
    weights: tuple[Path, ...] = ()
    time_limit: float = 0.0
    resume: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", Path(self.output))
        object.__setattr__(self, "data", None if self.data is None else Path(self.data))
        weights: Any = self.weights
        one = isinstance(weights, (str, Path))
        object.__setattr__(self, "weights", tuple(Path(path) for path in ([weights] if one else weights)))
        if self.validation_shape is not None:
            object.__setattr__(self, "validation_shape", tuple(int(s) for s in self.validation_shape))
        object.__setattr__(self, "shape", tuple(int(s) for s in self.shape))
        object.__setattr__(self, "zoom", tuple(float(z) for z in self.zoom))
        for name, choices in (
            ("method", METHODS),
            ("preset", tuple(PRESETS)),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
            ("initialization", INITIALIZATIONS),
        ):
            if getattr(self, name) not in choices:
                raise InputError(f"Unknown {name} {getattr(self, name)!r}; choose one of {', '.join(choices)}.")
        for name, low in (
            ("steps", 1),
            ("batch", 1),
            ("reuse", 1),
            ("validate_every", 1),
            ("checkpoint_every", 1),
            ("validation_cases", 0),
            ("workers", 0),
            ("threads", 0),
        ):
            if getattr(self, name) < low:
                raise InputError(f"The setting {name} is {getattr(self, name)}; it must be at least {low}.")
        least = 32 if self.coarse_first else 16
        if len(self.shape) != 3 or min(self.shape) < least:
            raise InputError(f"The training shape is {self.shape}; give three sizes of at least {least} voxels.")
        if not 0 < self.learning_rate < 1:
            raise InputError(f"The learning rate is {self.learning_rate}; give a number between 0 and 1.")
        if not 0.05 <= self.spacing <= 20:
            raise InputError(f"The spacing is {self.spacing} mm; give 0.05 to 20 mm.")
        if len(self.zoom) != 2 or not 1 <= self.zoom[0] <= self.zoom[1] <= 8:
            raise InputError(f"The zoom is {self.zoom}; give two numbers between 1 and 8, the smaller one first.")
        if self.validation_shape is not None and (len(self.validation_shape) != 3 or min(self.validation_shape) < 16):
            raise InputError(
                f"The validation shape is {self.validation_shape}; give three sizes of at least 16 voxels."
            )
        for name in ("shapes_fraction", "phantom_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"The setting {name} is {getattr(self, name)}; it must be between 0 and 1.")
        for name in ("alpha", "beta", "gamma", "time_limit"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"The setting {name} is {getattr(self, name)}; give a number that is not negative.")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise InputError(f"The seed is {self.seed!r:.40}; give a whole number from 0 to {2**32 - 1}.")

    def loss(self) -> RegistrationLoss:
        """The objective of the run."""
        from ..model import RegistrationLoss

        changes = {name: getattr(self, name) for name in ("alpha", "beta", "gamma", "descriptor")}
        return RegistrationLoss.preset(
            PRESETS[self.preset]["loss"], **{k: v for k, v in changes.items() if v is not None}
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and for checkpoints."""
        plain = asdict(self)
        for name in ("output", "data"):
            plain[name] = None if plain[name] is None else str(plain[name])
        plain["weights"] = [str(path) for path in self.weights]
        for name in ("shape", "zoom", "validation_shape"):
            plain[name] = None if plain[name] is None else list(plain[name])
        return plain

    def differences(self, stored: dict[str, Any]) -> list[str]:
        """What keeps this run from continuing one with `stored` settings, one text a setting."""
        free = FREE_ON_RESUME - ({"steps"} if self.schedule == "cosine" else set())
        own = self.as_dict()
        return [
            f"{name} was {stored.get(name)!r}, is {own[name]!r}"
            for name in sorted(own)
            if name not in free and _compared(name, own[name]) != _compared(name, stored.get(name))
        ]


def _compared(name: str, value: Any) -> Any:
    """What must stay the same of a setting when a run is resumed: of files, how many there are."""
    return len([value] if isinstance(value, str) else value or ()) if name in _FILES else value


_PAPER: dict[str, Any] = {
    "learning_rate": 1e-5,
    "schedule": "constant",
    "zoom": (1.0, 1.0),
    "shapes_fraction": 0.0,
    "augment": False,
    "coarse_first": False,
    "steps": 100_000,
}
PRESETS: dict[str, dict[str, Any]] = {
    "paper-abdomen": {**_PAPER, "loss": "paper-abdomen", "shape": (144, 144, 128)},
    "paper-kidney": {**_PAPER, "loss": "paper-kidney", "shape": (144, 80, 256)},
    "default": {"loss": "default"},
    # For a processor without a GPU: small parts of the body, each used a few times.
    "cpu": {
        "loss": "default",
        "learning_rate": 1e-3,
        "shape": (64, 64, 64),
        # Two small crops: PyTorch's fast 3-D convolutions on a processor need more than one item in a batch.
        "batch": 2,
        "zoom": (1.5, 4.0),
        "steps": 4000,
        "reuse": 8,
        "validation_shape": (72, 72, 64),
        "validate_every": 200,
        "checkpoint_every": 100,
        "spacing": 2.0,
        "crop": True,
    },
}
"""Presets: the name of the objective in the model, and the settings that a preset brings unless they are given."""


def with_preset(output: Path | str, preset: str = "default", **given: Any) -> TrainingSettings:
    """Settings of a preset; what is given explicitly, and is not None, goes before what the preset says.

    Raises:
        InputError: unknown preset or setting, one that has no effect beside the others, or a value out of range.
    """
    if preset not in PRESETS:
        raise InputError(f"Unknown preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    known = {field.name for field in fields(TrainingSettings)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise InputError(f"Unknown settings: {', '.join(unknown)}.")
    given = {name: value for name, value in given.items() if value is not None}
    base = {name: value for name, value in PRESETS[preset].items() if name != "loss"}
    base.update(given)
    settings = replace(TrainingSettings(output=Path(output)), preset=preset, **base)
    told = []
    for names, why in _idle(settings):
        options = ", ".join("--" + name.replace("_", "-") for name in names if name in given)
        if options:
            told.append(f"{options}: {why}, or leave that out.")
    if told:
        raise InputError(" ".join(told))
    return settings


def _idle(settings: TrainingSettings) -> Iterator[tuple[tuple[str, ...], str]]:
    """What has no effect beside the other settings, and why, with what to do about it."""
    if settings.data is None:
        yield OF_OWN_PAIRS, "of use with own pairs only, and no --data is given. Give it"
    else:
        yield OF_VALIDATION_PHANTOMS, "of use with phantoms only, and pairs of --data validate. Leave out --data"
        if not settings.phantom_fraction:
            yield OF_TRAINING_PHANTOMS, "of use with phantoms only, and there are none. Give --phantom-fraction"
    if settings.method in _ONE_BRANCH:
        yield OF_GRADIENT_BRANCH, f"of use with two branches only, and {settings.method} has one. Give another --method"
