"""What a report may replace: the files of an earlier report, and nobody else's."""

from __future__ import annotations

import os.path
from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError
from ..evaluation.tables import COLUMNS

MARK = "GradientGuidedRegistration"  # near the start of all pages and pictures
REPORT_NAME, OVERVIEW_NAME, TABLE_NAME = "report.html", "overview.html", "labels.csv"
PICTURES = ("images", "overlay", "outlines", "close-up", "series", "gradients", "deformation")
REPORT_FILES = (REPORT_NAME, *(f"{name}.png" for name in PICTURES), TABLE_NAME)
_START = 2000  # bytes


def is_of_a_report(path: Path) -> bool:
    """Whether a file is a page, a picture or a table that a report has written."""
    try:
        with open(path, "rb") as file:
            start = file.read(_START)
    except OSError:
        return False
    return MARK.encode() in start or start.startswith(",".join(COLUMNS).encode())


def check_replaceable(folder: str | Path, names: Iterable[str] = REPORT_FILES) -> None:
    """Raise InputError when a folder for a report has a file of one of these names that no report has written."""
    others = [name for name in names if os.path.exists(Path(folder) / name) and not is_of_a_report(Path(folder) / name)]
    if others:
        raise InputError(
            f"The report folder {folder} has files that no report has written and that a report would replace "
            f"({', '.join(others)}); choose another folder."
        )
