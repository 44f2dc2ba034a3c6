"""One version, in one place."""

from __future__ import annotations

import re
from pathlib import Path

from GradientGuidedRegistrationLib import __version__


def test_the_changelog_begins_with_the_version_of_the_code(repository: Path) -> None:
    headings = re.findall(r"^## (\S+)", (repository / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == __version__


def test_no_other_file_states_it(repository: Path) -> None:
    others = ("CITATION.cff", "CMakeLists.txt", "pyproject.toml", "README.md")
    assert [name for name in others if __version__ in (repository / name).read_text(encoding="utf-8")] == []
