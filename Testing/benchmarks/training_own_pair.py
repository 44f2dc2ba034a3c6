"""Overfit a network on one pair of own files through train.py, and tell what that does to its mutual information.

    python Testing/benchmarks/training_own_pair.py fixed.nii.gz moving.nii.gz --output run --steps 150

The field is that of the trained network alone, without refinement, by the same pipeline that register.py uses.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "GradientGuidedRegistration"
sys.path.insert(0, str(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixed", type=Path)
    parser.add_argument("moving", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", default="150")
    parser.add_argument("--spacing", type=float, default=4.0)
    parser.add_argument("--shape", nargs=3, default=("48", "48", "48"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    table = options.output / "pair.csv"
    files = f"{options.fixed.resolve()},{options.moving.resolve()}"
    table.write_text(f"fixed,moving,name\n{files},pair\n", encoding="utf-8")
    arguments = [
        *("--data", table, "--output", options.output / "run", "--preset", "cpu", "--threads", "1"),
        *("--spacing", options.spacing, "--shape", *options.shape, "--steps", options.steps),
        *("--initialization", "rigid", "--validate-every", "1000", "--checkpoint-every", "50"),
    ]
    subprocess.run([sys.executable, ROOT / "Scripts" / "train.py", *map(str, arguments)], check=True)

    from GradientGuidedRegistrationLib.registration.files import read_image
    from GradientGuidedRegistrationLib.registration.pipeline import register
    from GradientGuidedRegistrationLib.registration.settings import Settings

    settings = Settings(weights=options.output / "run" / "last.pt", refine=0, spacing=options.spacing)
    result = register(read_image(options.fixed), read_image(options.moving), settings)
    quality = result.quality
    print(json.dumps({name: quality[name] for name in ("mutual_information", "folding_percent", "displacement_mm")}))


if __name__ == "__main__":
    main()
