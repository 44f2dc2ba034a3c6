"""What matters in the training: short trainings that differ in one thing each, scored on the same phantoms.

    python Testing/benchmarks/ablation.py --output FOLDER --steps 800 --threads 1
    python Testing/benchmarks/ablation.py --output FOLDER --only base "mind (eq. 4)"

Each row is trained from random weights on the same generated pairs (but for the row that is told apart by its seed) and
scored, network alone, on whole phantoms that no training sees. A row that is in FOLDER/ablation.csv is not trained
again. Printed is a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "GradientGuidedRegistration"))

from GradientGuidedRegistrationLib.evaluation.tables import csv_of
from GradientGuidedRegistrationLib.model import (
    exponentiate,
    gradient_magnitude,
    load_weights,
    network,
    register_in_passes,
)
from GradientGuidedRegistrationLib.model.branch import VoxelMorphBranch
from GradientGuidedRegistrationLib.training.case import Case
from GradientGuidedRegistrationLib.training.phantoms import validation_phantom
from GradientGuidedRegistrationLib.training.settings import with_preset
from GradientGuidedRegistrationLib.training.trainer import train
from GradientGuidedRegistrationLib.training.validation import mean_scores, score

BASE: dict[str, Any] = {
    "preset": "cpu",
    "method": "gated",
    "zoom": (1.0, 1.5),
    "seed": 1,
    "validation_cases": 0,
}
COLUMNS = ("row", "dice", "tre_mm", "folding_percent", "folds", "seconds")


@dataclass(frozen=True)
class Variant:
    """One row: settings that differ from `BASE`, what of the model is replaced, and from what it goes out.

    Attributes:
        changes: settings.
        replaced: attributes (object, name, value) of the model, in training and scoring.
        first: the method that the first half of the steps trains; "" for that of the settings.
        weights_of: the row whose weights are scored; "" for its own training.
        passes: factors of the passes at which it is scored, 1 for the full resolution; () for those it was trained for.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    replaced: tuple[tuple[Any, str, Any], ...] = ()
    first: str = ""
    weights_of: str = ""
    passes: tuple[int, ...] = ()


def unscaled_gradient(image: torch.Tensor) -> torch.Tensor:
    return gradient_magnitude(image, scale=False)


def integrated(branch: VoxelMorphBranch, images: torch.Tensor, plain: Any = VoxelMorphBranch.forward) -> torch.Tensor:
    return exponentiate(plain(branch, images), 5)


VARIANTS = {
    "base": Variant(),
    "another seed": Variant({"seed": 2}),
    "learning rate 1e-5, constant (paper)": Variant({"learning_rate": 1e-5, "schedule": "constant"}),
    "learning rate 1e-4": Variant({"learning_rate": 1e-4}),
    "learning rate 3e-3": Variant({"learning_rate": 3e-3}),
    "constant learning rate": Variant({"schedule": "constant"}),
    "mind (eq. 4)": Variant({"descriptor": "mind"}),
    "half resolution only": Variant(weights_of="base", passes=(2,)),
    "full resolution only": Variant(weights_of="base", passes=(1,)),
    "trained for one pass": Variant({"coarse_first": False, "shape": (32, 32, 32), "zoom": (2.0, 3.0)}),
    "average fusion": Variant({"method": "average"}),
    "average, then gated": Variant(first="average"),
    "one branch (VM)": Variant({"method": "vm"}),
    "one branch (VM, concat)": Variant({"method": "vm-concat"}),
    "α 0": Variant({"alpha": 0.0}),
    "α 1": Variant({"alpha": 1.0}),
    "β 0.1": Variant({"beta": 0.1}),
    "γ 0.3": Variant({"gamma": 0.3}),
    "γ 2": Variant({"gamma": 2.0}),
    "gradient maps not scaled": Variant(replaced=((network, "gradient_magnitude", unscaled_gradient),)),
    "branches integrate a velocity": Variant(replaced=((VoxelMorphBranch, "forward", integrated),)),
    "no random shapes": Variant({"shapes_fraction": 0.0}),
}


def trained(variant: Variant, folder: Path, options: argparse.Namespace) -> Path:
    """Train as the variant says; return the weights file."""
    settings = {**BASE, **variant.changes, "threads": options.threads}
    weights = None
    for number, method in enumerate(filter(None, (variant.first, settings["method"]))):
        steps = options.steps // 2 if variant.first else options.steps
        seed = settings["seed"] + 100 * number
        stage = {**settings, "method": method, "steps": steps, "weights": weights, "seed": seed}
        run = folder / method
        if not (run / "last.pt").is_file():
            train(with_preset(run, **stage))
        weights = run / "last.pt"
    assert weights is not None
    return weights


@torch.no_grad()
def scored(weights: Path, variant: Variant, cases: list[Case]) -> dict[str, float | None]:
    """Return the means over the cases, the predicted field as it is, and in how many of them it folds somewhere."""
    model = load_weights(weights)
    if variant.passes:
        model.coarse_passes = tuple(factor for factor in variant.passes if factor > 1)
    found = []
    for case in cases:
        prediction = register_in_passes(model, case.moving, case.fixed, to_full_resolution=variant.passes != (2,))
        figures = score(prediction.displacement, case, distances=False)
        found.append({**figures, "folds": float((figures["folding_percent"] or 0.0) > 0)})
    return mean_scores(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of the trainings and of the table")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="ROW")
    parser.add_argument("--cases", type=int, default=5)
    parser.add_argument("--shape", type=int, nargs=3, default=[84, 96, 96], help="voxels of 1.5 mm")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    table = options.output / "ablation.csv"
    rows = list(csv.DictReader(table.open(encoding="utf-8"))) if table.is_file() else []
    cases = [validation_phantom(i, tuple(options.shape), 1.5, torch.device("cpu")) for i in range(options.cases)]
    if not any(row["row"] == "before" for row in rows):
        still = torch.zeros(1, 3, *options.shape)
        rows.append({"row": "before", **mean_scores([score(still, case, distances=False) for case in cases])})
    for name in options.only:
        if any(row["row"] == name for row in rows):
            continue
        variant, began = VARIANTS[name], time.monotonic()
        number = list(VARIANTS).index(variant.weights_of or name)
        with ExitStack() as stack:
            for attribute in variant.replaced:
                stack.enter_context(patch.object(*attribute))
            weights = trained(variant, options.output / f"row-{number}", options)
            rows.append({"row": name, **scored(weights, variant, cases), "seconds": time.monotonic() - began})
        table.write_text(csv_of(rows, COLUMNS), encoding="utf-8")
        print(f"{name}: Dice {rows[-1]['dice']:.3f}", file=sys.stderr, flush=True)
    print("| | Dice (%) | TRE (mm) | folding (%) | cases that fold |\n|---|---|---|---|---|")
    for row in rows:
        folds = "" if row.get("folds") in (None, "") else f"{100 * float(row['folds']):.0f} %"
        print(f"| {row['row']} | {100 * float(row['dice']):.1f} | {float(row['tre_mm']):.2f} | "
              f"{float(row['folding_percent']):.3f} | {folds} |")  # fmt: skip


if __name__ == "__main__":
    main()
