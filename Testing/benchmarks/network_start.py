"""What the network's start is worth: refinement with and without it at equal iterations, on known warps of patients.

    python Testing/benchmarks/network_start.py --data FOLDER --output TABLE.csv

FOLDER as for known_warps.py. Each of the pairs held out of the training is warped and moved several times. Printed are
means over all cases: the error against the known warp and motion, the same with what the pair was out of alignment as
scanned counted as part of the truth («aligned»), and CPU seconds of the whole registration.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "GradientGuidedRegistration"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

from cases import STS_CASES, sts_pair
from known_warps import moved

from GradientGuidedRegistrationLib.registration import Settings, register

STARTS = ("alone", "network")
COLUMNS = ("case", "iterations", "start", "tre_mm", "tre_aligned_mm", "folding_percent", "cpu_s", "used")


def rows(name: str, warp: int, options: argparse.Namespace) -> list[dict[str, object]]:
    pair, found = sts_pair(name, warp, options.data), []
    for iterations in options.iterations:
        for start in STARTS:
            settings = Settings(refine=iterations, use_network=start == "network", weights=options.weights)
            began = time.process_time()
            result = register(pair.fixed, pair.moving, settings)
            seconds = time.process_time() - began
            places = moved(result.transform, pair.points)
            apart = [np.linalg.norm(places - truth, axis=1).mean() for truth in (pair.targets, pair.aligned_targets)]
            values = (f"{name} {warp}", iterations, start, *apart, result.quality["folding_percent"], seconds,
                      result.quality["network_used"])  # fmt: skip
            found.append(dict(zip(COLUMNS, values, strict=True)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--warps", type=int, nargs="+", default=[10, 11, 12], help="numbers of the warps of each pair")
    parser.add_argument("--iterations", type=int, nargs="+", default=[4, 8, 15, 30])
    parser.add_argument("--weights", type=Path, help="instead of the packaged ones")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: list[dict[str, object]] = []
    for name in STS_CASES:
        for warp in options.warps:
            found += rows(name, warp, options)
            with options.output.open("w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, COLUMNS)
                table.writeheader()
                table.writerows(found)
            print(f"{name} {warp}", file=sys.stderr, flush=True)
    print(f"{'iterations':>10} {'start':<8}{'TRE':>7}{'aligned':>9}{'folding %':>11}{'CPU s':>7}")
    for iterations in options.iterations:
        for start in STARTS:
            chosen = [row for row in found if (row["iterations"], row["start"]) == (iterations, start)]
            means = [np.mean([float(row[column]) for row in chosen]) for column in COLUMNS[3:7]]  # type: ignore[arg-type]
            print(f"{iterations:>10} {start:<8}{means[0]:7.2f}{means[1]:9.2f}{means[2]:11.3f}{means[3]:7.1f}")


if __name__ == "__main__":
    main()
