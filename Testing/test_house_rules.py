"""The rules of CONTRIBUTING.md that can be counted."""

from __future__ import annotations

from pathlib import Path

FOLDERS = ("GradientGuidedRegistration", "Resources", "Testing", "docs")
LONGEST = 400
LONG_FOR_A_REASON = {"GradientGuidedRegistration/GradientGuidedRegistration.py"}  # Slicer wants five classes in it


def test_no_file_is_too_long(repository: Path) -> None:
    files = [path for folder in FOLDERS for path in (repository / folder).rglob("*.py")]
    lines = {path.relative_to(repository).as_posix(): len(path.read_bytes().splitlines()) for path in files}
    assert len(lines) > 200
    assert {name for name, count in lines.items() if count > LONGEST} == LONG_FOR_A_REASON
