"""Make the figures of this folder again: register a pair and keep some pages of its report.

    python Resources/make_figures.py --name phantom --fixed mr.nii.gz --moving ct.nii.gz \
        --fixed-segmentation mr_labels.nii.gz --moving-segmentation ct_labels.nii.gz --names labels.json

`README.md` beside this file says which pair each figure shows and where it comes from.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "GradientGuidedRegistration"))

PAGES = ("overlay", "gradients", "outlines", "deformation")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--name", required=True, help="first part of the files' names")
    parser.add_argument("--fixed", required=True)
    parser.add_argument("--moving", required=True)
    parser.add_argument("--fixed-segmentation")
    parser.add_argument("--moving-segmentation")
    parser.add_argument("--names", help="JSON file with a name for each label value")
    parser.add_argument("--pages", nargs="+", default=PAGES, help="pages of the report to keep")
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args(arguments)

    from GradientGuidedRegistrationLib.figures import describe_case, render_pages
    from GradientGuidedRegistrationLib.registration.files import read_image, read_labels
    from GradientGuidedRegistrationLib.registration.pipeline import register

    fixed, moving = read_image(options.fixed, "fixed image"), read_image(options.moving, "moving image")
    labels = [
        read_labels(path, "segmentation") if path else None
        for path in (options.fixed_segmentation, options.moving_segmentation)
    ]
    names = None
    if options.names:
        names = {int(value): name for value, name in json.loads(Path(options.names).read_text()).items()}
    result = register(fixed, moving)
    volumes, pages = describe_case(result, fixed, moving, *labels, label_names=names)
    kept = [page for page in pages if page.name in options.pages]
    for path in render_pages(kept, volumes, options.output, prefix=f"{options.name}-"):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
