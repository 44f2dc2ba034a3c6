"""A report replaces the files of an earlier report, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from cases import make_case

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.figures import batch_report, write_report
from GradientGuidedRegistrationLib.figures.earlier import OVERVIEW_NAME, REPORT_FILES, check_replaceable


def write(folder, case, **labels) -> None:
    """A report whose pictures are blank."""
    write_report(
        case.result, case.fixed, case.moving, folder, **labels,
        render=lambda panel, volumes: np.zeros((*panel.view.size[::-1], 3), np.uint8),
    )  # fmt: skip


def test_an_earlier_report_is_known_by_each_of_its_files(tmp_path):
    case = make_case()
    check_replaceable(tmp_path / "new")
    write(tmp_path, case, fixed_labels=case.fixed_labels, moving_labels=case.moving_labels)
    (tmp_path / "notes.txt").write_text("a user's")
    assert {path.name for path in tmp_path.iterdir()} == {*REPORT_FILES, "notes.txt"}
    check_replaceable(tmp_path)
    for name in REPORT_FILES:
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_text("a user's")
        with pytest.raises(InputError, match=rf"no report has written.*\({name}\)"):
            check_replaceable(tmp_path)
        (tmp_path / name).write_bytes(content)
    batch_report([], tmp_path)
    check_replaceable(tmp_path, [OVERVIEW_NAME])


def test_a_page_of_somebody_else_makes_no_earlier_report(tmp_path):
    for name in ("report.html", "labels.csv", "outlines.png"):
        (tmp_path / name).write_text("a user's")
    write(tmp_path, make_case())
    assert (tmp_path / "labels.csv").exists() and (tmp_path / "outlines.png").exists()
