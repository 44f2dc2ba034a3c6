"""Compare registration methods on labelled CT-MR pairs: Table 1 of the paper.

    python evaluate.py --output table                             five held-out phantoms, packaged weights
    python evaluate.py --output table --data pairs.csv            own pairs with segmentations
    python evaluate.py --output table --weights mine              weights of your own, mine/gated.pt and so on
    Slicer --no-splash --no-main-window --python-script evaluate.py --output table

Writes table.txt, table.csv, table.svg and measures.csv (every case, method and label). SyN(MI) needs the package
antspyx; rows that cannot be computed are left out and named. Exit status: 0 done, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from GradientGuidedRegistrationLib.registration.settings import INITIALIZATIONS


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--output", required=True, type=Path, help="folder for the table")
    p.add_argument("--data", type=Path, help="folder or CSV of own pairs with segmentations; phantoms if left out")
    p.add_argument("--cases", type=int, help="number of phantoms (5)")
    p.add_argument("--first-seed", type=int, help="number of the first phantom (0)")
    p.add_argument("--size", type=int, nargs=3, metavar=("X", "Y", "Z"), help="phantom voxels (128 144 144)")
    p.add_argument("--spacing", type=float, help="voxel size of the phantoms in mm (1)")
    p.add_argument("--strength", type=float, help="factor on the phantoms' deformation (1)")
    p.add_argument("--rows", nargs="+", default=(), help="methods to compare; all if left out")
    p.add_argument("--weights", type=Path, help="folder with gated.pt, average.pt, vm.pt, vm-concat.pt")
    p.add_argument(
        "--organs",
        nargs="*",
        help="labels with columns of their own, in this order ('label 3' in own pairs), or nothing for all, by value; "
        "left out, liver, spleen and kidneys of phantoms, all of own pairs",
    )
    p.add_argument(
        "--initialization",
        choices=INITIALIZATIONS,
        default="none",
        help="linear alignment first; none if left out, since phantoms lie aligned",
    )
    p.add_argument("--device", default="auto", help="auto (CUDA if there is one, else the CPU), cpu, cuda or mps")
    p.add_argument("--quiet", action="store_true", help="no progress")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Evaluate; returns the exit status."""
    options = vars(parser().parse_args(arguments))
    quiet = options.pop("quiet")
    size = options.pop("size")
    options["shape"] = size and tuple(size[::-1])
    from GradientGuidedRegistrationLib.command import run_command

    return run_command(
        lambda: evaluate(options, quiet), "evaluate.py", "interrupted; the table, if there is one, holds what was done"
    )


def evaluate(options: dict[str, Any], quiet: bool) -> int:
    """Evaluate as the options say, and print the table."""
    from GradientGuidedRegistrationLib import headless
    from GradientGuidedRegistrationLib.training.comparison.settings import with_given

    def show(step: str, fraction: float) -> None:
        if not quiet and sys.stderr is not None:
            print(f"{100 * fraction:3.0f} %  {step}", file=sys.stderr, flush=True)

    logic = headless.load_module().GradientGuidedRegistrationLogic()
    table = logic.evaluate(with_given(**options), progress=show)
    print(table.text(), end="")
    return 0


if __name__ == "__main__":
    from GradientGuidedRegistrationLib import headless

    headless.leave(main())
