"""Write a generated CT-MR pair with labels and its true deformation to a folder.

    python phantom.py --output pair --seed 1
    python phantom.py --output pair --seed 1 --geometry scanner --spacing 2

The folder gets fixed_mr.nii.gz, moving_ct.nii.gz, fixed_labels.nii.gz, moving_labels.nii.gz, labels.json (name by
label value) and truth.nii.gz: the true displacement field in LPS mm from fixed to moving points, as
`SimpleITK.DisplacementFieldTransform` takes it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

FILES = {
    "fixed": "fixed_mr.nii.gz",
    "moving": "moving_ct.nii.gz",
    "fixed_labels": "fixed_labels.nii.gz",
    "moving_labels": "moving_labels.nii.gz",
    "field": "truth.nii.gz",
}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", required=True, type=_folder, help="folder for the files; made if needed")
    parser.add_argument("--seed", type=int, default=0, help="number of the pair; the same number gives the same pair")
    parser.add_argument(
        "--size", type=int, nargs=3, default=(128, 144, 144), metavar=("X", "Y", "Z"), help="voxels along x, y, z"
    )
    parser.add_argument("--spacing", type=float, default=1.0, help="voxel size in mm")
    parser.add_argument("--kind", choices=("abdomen", "shapes"), default="abdomen",
                        help="'shapes': contrast-free random shapes")  # fmt: skip
    parser.add_argument(
        "--geometry",
        choices=("common", "scanner"),
        default="common",
        help="'scanner': oblique anisotropic MR with a partial field of view, and a misaligned patient",
    )
    parser.add_argument("--strength", type=float, default=1.0, help="factor on the deformation")
    parser.add_argument("--sequence", help="MR sequence instead of a random one: t1, t1-fs, t2, t2-fs, …")
    parser.add_argument("--phase", help="CT contrast phase instead of a random one: none, arterial, portal or delayed")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    return parser.parse_args(arguments)


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty; give the name of a folder")
    return Path(text)


def main(arguments: list[str] | None = None) -> int:
    """Generate one pair and write it; returns the exit status."""
    options = parse_arguments(arguments)
    from GradientGuidedRegistrationLib.command import run_command

    return run_command(lambda: generate(options), "phantom.py")


def generate(options: argparse.Namespace) -> int:
    """Generate the pair and write it."""
    from GradientGuidedRegistrationLib.errors import InputError, is_memory_error
    from GradientGuidedRegistrationLib.registration.device import pick_device
    from GradientGuidedRegistrationLib.registration.files import check_output, write_image
    from GradientGuidedRegistrationLib.training.phantom import phantom_images
    from GradientGuidedRegistrationLib.whole_files import write_text

    device = pick_device(options.device)
    check_output(options.output / "labels.json", "file")
    try:
        images = phantom_images(
            options.seed,
            tuple(options.size[::-1]),
            options.spacing,
            options.kind,
            device,
            geometry=options.geometry,
            strength=options.strength,
            sequence=options.sequence,
            phase=options.phase,
        )
    except Exception as error:
        if not is_memory_error(error):
            raise
        size = " x ".join(map(str, options.size))
        raise InputError(f"A pair of {size} voxels does not fit into the memory; give a smaller --size.") from None
    names = {str(value): name for value, name in images["label_names"].items()}
    written: list[str] = []
    try:
        for name, file in FILES.items():
            write_image(images[name], options.output / file)
            written.append(file)
        write_text(options.output / "labels.json", json.dumps(names, indent=2) + "\n")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; written: {', '.join(written)}" if written else "") from None
    print(f"wrote {len(FILES) + 1} files to {options.output}")
    return 0


if __name__ == "__main__":
    from GradientGuidedRegistrationLib import headless

    headless.leave(main())
