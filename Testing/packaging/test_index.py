"""The published rules of Slicer's extension index, applied to this repository: https://github.com/Slicer/ExtensionsIndex.

What its `check_description_files.py`, the catalogue schema 1.0.1 and the list for new extensions ask for, without the
network: that an address answers is seen by its file being at that place in the repository.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

NAME = "GradientGuidedRegistration"
SCHEMA = {  # field: (type, allowed values)
    "$schema": (str, None),
    "category": (str, ("Registration",)),  # of the categories that the index accepts, the one that fits
    "scm_url": (str, None),
    "scm_revision": (str, None),
    "scm_type": (str, ("git", "local")),
    "build_dependencies": (list, None),
    "build_subdirectory": (str, None),
    "enabled": (bool, None),
    "tier": (int, (1, 3, 5)),
}
LARGEST_MB = 40


@pytest.fixture(scope="module")
def entry(repository: Path) -> dict:
    return json.loads((repository / f"{NAME}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cmake(repository: Path) -> dict[str, str]:
    """The EXTENSION_* values of the top-level CMake file, one quoted text each, as the index's parser wants them."""
    text = (repository / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'set\s*\(EXTENSION_(\w+)\s+"([^"]+)"\)', text))


def test_the_entry_follows_the_schema(entry: dict) -> None:
    assert set(entry) <= set(SCHEMA)
    assert {"$schema", "category", "scm_url"} <= set(entry)
    for name, value in entry.items():
        kind, allowed = SCHEMA[name]
        assert type(value) is kind and (allowed is None or value in allowed), name
    assert re.fullmatch(r"https://raw\.githubusercontent\.com/Slicer/Slicer/main/Schemas/"
                        r"slicer-extension-catalog-entry-schema-v\d+\.\d+\.\d+\.json#", entry["$schema"])  # fmt: skip


def test_the_repository_is_named_after_slicer_and_the_extension(entry: dict, cmake: dict[str, str]) -> None:
    address = urlsplit(entry["scm_url"])
    assert address.scheme in ("https", "git")
    assert Path(address.path).stem == f"Slicer{NAME}"
    assert cmake["HOMEPAGE"] == entry["scm_url"].removesuffix(".git")


def test_entry_and_cmake_agree(repository: Path, entry: dict, cmake: dict[str, str]) -> None:
    text = (repository / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.search(r"project\s*\(\s*([^\s)]+)", text).group(1) == NAME
    assert cmake["CATEGORY"] == entry["category"]
    assert cmake["DEPENDS"].split() == entry["build_dependencies"]
    assert 40 < len(cmake["DESCRIPTION"]) < 300 and cmake["DESCRIPTION"].count(". ") <= 2


def picture_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", f"{path} is no PNG picture"
    return struct.unpack(">II", head[16:24])


def test_icon_and_screenshots_are_at_their_addresses(repository: Path, entry: dict, cmake: dict[str, str]) -> None:
    owner_and_name = urlsplit(entry["scm_url"]).path.removesuffix(".git")
    screenshots = cmake["SCREENSHOTURLS"].split()
    assert screenshots
    for address in [cmake["ICONURL"], *screenshots]:
        start = f"https://raw.githubusercontent.com{owner_and_name}/{entry['scm_revision']}/"
        assert address.startswith(start)
        size = picture_size(repository / address.removeprefix(start))
        assert size == (128, 128) if address == cmake["ICONURL"] else min(size) >= 400


def test_licence_and_size(repository: Path) -> None:
    assert (repository / "LICENSE").is_file()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [repository / name for name in listed.stdout.decode().split("\0") if name]
    assert sum(path.stat().st_size for path in files if path.is_file()) < LARGEST_MB * 2**20
