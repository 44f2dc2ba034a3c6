"""Train a registration network on generated phantoms or on own CT-MR pairs.

    python train.py --output run                                  phantoms, default preset
    python train.py --output run --preset cpu                     small crops, for a machine without a GPU
    python train.py --output run --data pairs.csv --crop          own pairs
    torchrun --nproc_per_node=2 train.py --output run             several processes
    Slicer --no-splash --no-main-window --python-script train.py --output run
    python train.py --output run --resume                         continue after an interruption (same options)

Own pairs: a CSV with the columns fixed, moving and, if wanted, fixed_labels, moving_labels, split (training,
validation, test), paths relative to it; or a folder with one folder a case that holds fixed.nii.gz and moving.nii.gz
(or mr, ct) and perhaps fixed_labels and moving_labels, as NIfTI, NRRD or MetaImage files, or DICOM folders so named.
Fixed is the MR, moving the CT. Exit status: 0 done, 2 bad input, 130 interrupted (by Ctrl+C or SIGTERM; a checkpoint of
the last whole step is kept).
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from GradientGuidedRegistrationLib.registration.settings import INITIALIZATIONS


def parser() -> argparse.ArgumentParser:
    """The command line. Options without a value here take that of the preset."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--output", required=True, type=Path, help="folder of the run")
    p.add_argument("--resume", action="store_true", help="continue the run in the output folder")
    p.add_argument("--data", type=Path, help="folder or CSV of own pairs; phantoms if left out")
    p.add_argument("--preset", default="default", help="default, cpu, paper-abdomen or paper-kidney")
    p.add_argument("--method", help="gated, average, vm or vm-concat")
    p.add_argument("--steps", type=int, help="optimiser steps in all")
    p.add_argument("--learning-rate", type=float, help="of Adam")
    p.add_argument("--schedule", help="constant or cosine")
    p.add_argument("--shape", type=int, nargs=3, metavar=("D", "H", "W"), help="voxels that the network sees in a step")
    p.add_argument("--spacing", type=float, help="working voxel size of own pairs in mm")
    p.add_argument(
        "--coarse-first",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train for two passes, coarse and fine",
    )
    p.add_argument("--crop", action="store_const", const=True, help="random crops of own pairs instead of their middle")
    p.add_argument(
        "--zoom", type=float, nargs=2, metavar=("FROM", "TO"), help="size of the phantom relative to the shape"
    )
    p.add_argument("--shapes-fraction", type=float, help="share of contrast-free shapes among the phantoms")
    p.add_argument("--phantom-fraction", type=float, help="share of phantoms beside own pairs")
    p.add_argument("--reuse", type=int, help="steps that each phantom is used for")
    p.add_argument(
        "--initialization",
        choices=INITIALIZATIONS,
        help="linear alignment of own pairs first; none if left out (phantoms lie aligned)",
    )
    p.add_argument("--batch", type=int, help="pairs in a step, for each process")
    p.add_argument("--alpha", type=float, help="weight of the gradient similarity (eq. 2; gated, average)")
    p.add_argument("--beta", type=float, help="weight of the gradient field's roughness (gated, average)")
    p.add_argument("--gamma", type=float, help="weight of the final field's roughness")
    p.add_argument("--descriptor", help="mind or mind-ssc")
    p.add_argument("--precision", help="float32; on a GPU also bfloat16 or float16")
    p.add_argument("--seed", type=int, help="of the weights, and of order and content of the data")
    p.add_argument("--workers", type=int, help="processes that prepare data (0: the training process, on its device)")
    p.add_argument("--threads", type=int, help="CPU threads")
    p.add_argument("--device", help="auto, cpu, cuda, cuda:1 or mps")
    p.add_argument("--validate-every", type=int, metavar="STEPS", help="steps between validations")
    p.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="steps between checkpoints")
    p.add_argument("--validation-cases", type=int, help="number of phantoms to validate on, without own pairs")
    p.add_argument(
        "--validation-shape", type=int, nargs=3, metavar=("D", "H", "W"), help="voxels of the phantoms to validate on"
    )
    p.add_argument(
        "--weights", type=Path, nargs="+", metavar="FILE", help="weights to start from, from the mean of several"
    )
    p.add_argument(
        "--time-limit", type=float, metavar="MINUTES", help="stop with a checkpoint after so long, preparation included"
    )
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Train; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = vars(parser().parse_args(arguments))
    quiet = options.pop("quiet")
    again = command("train.py", *arguments, *(() if options["resume"] else ("--resume",)))
    from GradientGuidedRegistrationLib.command import run_command

    return run_command(lambda: train(options, quiet, again), "train.py", "interrupted before the first checkpoint")


def train(options: dict[str, Any], quiet: bool, again: str) -> int:
    """Train as the options say, and tell the result, or after an interruption the command that goes on (`again`)."""
    from GradientGuidedRegistrationLib import headless
    from GradientGuidedRegistrationLib.errors import Cancelled
    from GradientGuidedRegistrationLib.training.settings import with_preset

    output, leads = Path(options["output"]), os.environ.get("RANK", "0") == "0"
    try:
        result = headless.load_module().GradientGuidedRegistrationLogic().train(with_preset(**options), bar=not quiet)
    except (KeyboardInterrupt, Cancelled):
        if leads and (output / "checkpoint.pt").is_file():
            print(f"train.py: interrupted, a checkpoint is kept; to continue: {again}", file=sys.stderr)
            return 130
        if not leads:  # the leading process says it
            return 130
        raise
    if not leads:
        return 0
    dice = result.best.get("dice")
    figures = f", best validation Dice {100 * dice:.2f} % at step {result.best['step']}" if dice else ""
    waiting = f"{100 * result.waiting:.0f} % of it waiting for data"
    weights = result.weights or output / "last.pt"
    print(f"{result.steps} steps in {result.seconds:.0f} s, {waiting}{figures}; weights: {weights}")
    if not result.finished:
        print(f"The time limit is reached; to continue: {again}")
    files = ("--fixed", "mr.nii.gz", "--moving", "ct.nii.gz", "--transform", "ct_to_mr.h5")
    print(f"To register with these weights: {command('register.py', *files, '--weights', str(weights))}")
    return 0


def command(script: str, *arguments: str) -> str:
    """A command line that runs a script beside this one as this one was run, to be copied into a shell."""
    from GradientGuidedRegistrationLib import headless

    words = [sys.executable]
    if headless.in_application():
        words = ["Slicer", "--no-splash", "--no-main-window", "--python-script"]
    elif script == "train.py" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        words += ["-m", "torch.distributed.run", f"--nproc_per_node={os.environ.get('LOCAL_WORLD_SIZE', '1')}"]
    words += [str(Path(__file__).resolve().with_name(script)), *arguments]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


if __name__ == "__main__":
    from GradientGuidedRegistrationLib import headless

    headless.leave(main())
