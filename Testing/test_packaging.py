"""What goes into the package: nothing of the tree forgotten, and the metadata that the extension index asks for."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

MODULE = "GradientGuidedRegistration"


def listed(cmake: Path, variable: str) -> list[str]:
    """The entries of a `set(VARIABLE ...)` in a CMake file, with MODULE_NAME filled in."""
    match = re.search(rf"^set\({variable}\s(.*?)\)", cmake.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert match is not None, f"{cmake} does not set {variable}"
    text = re.sub(r"#.*", "", match.group(1))
    return text.replace("${MODULE_NAME}", MODULE).split()


def tree(folder: Path, *tops: str) -> set[str]:
    """Relative paths of the files below some subfolders, caches and hidden files left out."""
    files = (path for top in tops for path in (folder / top).rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix()
        for path in files
        if "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def test_every_python_file_is_packaged_once(repository: Path) -> None:
    folder = repository / MODULE
    scripts = listed(folder / "CMakeLists.txt", "MODULE_PYTHON_SCRIPTS")
    assert len(scripts) == len(set(scripts))
    expected = {path for path in tree(folder, f"{MODULE}Lib") if path.endswith(".py")} | {f"{MODULE}.py"}
    assert set(scripts) - expected == set(), "listed, but not there"
    assert expected - set(scripts) == set(), "there, but not listed in GradientGuidedRegistration/CMakeLists.txt"


def test_every_resource_and_script_is_packaged_once(repository: Path) -> None:
    folder = repository / MODULE
    resources = listed(folder / "CMakeLists.txt", "MODULE_PYTHON_RESOURCES")
    assert len(resources) == len(set(resources))
    data = {path for path in tree(folder, f"{MODULE}Lib") if not path.endswith((".py", ".pyc"))}
    expected = tree(folder, "Resources", "Scripts") | data
    assert set(resources) - expected == set(), "listed, but not there"
    assert expected - set(resources) == set(), "there, but not listed in GradientGuidedRegistration/CMakeLists.txt"


def test_module_folder_holds_one_module(repository: Path) -> None:
    """Slicer takes every Python file directly in a module folder for a module."""
    assert [path.name for path in (repository / MODULE).glob("*.py")] == [f"{MODULE}.py"]


@pytest.mark.parametrize(
    "variable",
    [
        "HOMEPAGE",
        "CATEGORY",
        "CONTRIBUTORS",
        "DESCRIPTION",
        "ICONURL",
        "SCREENSHOTURLS",
        "DEPENDS",
        "LICENSE_FILE",
        "README_FILE",
    ],
)
def test_extension_metadata_is_complete(repository: Path, variable: str) -> None:
    text = " ".join(listed(repository / "CMakeLists.txt", f"EXTENSION_{variable}")).strip('"')
    assert len(text) > 3
    assert "TODO" not in text
    if variable.endswith("URL") or variable in ("HOMEPAGE", "SCREENSHOTURLS"):
        assert text.startswith("https://")
    if variable == "DEPENDS":
        assert text == "PyTorch"


@pytest.mark.parametrize("path", [f"{MODULE}.png", f"{MODULE}/Resources/Icons/{MODULE}.png"])
def test_icon_is_a_128_pixel_png(repository: Path, path: str) -> None:
    head = (repository / path).read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (128, 128)


def test_licence_is_apache(repository: Path) -> None:
    text = (repository / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_torch_is_a_range_for_users_and_a_pin_for_developers(repository: Path) -> None:
    required = (repository / "requirements.txt").read_text(encoding="utf-8")
    pinned = (repository / "constraints.txt").read_text(encoding="utf-8")
    assert re.search(r"^torch>=[\d.]+,<\d+$", required, re.MULTILINE)
    assert "==" not in re.sub(r'(platform|sys)\w* == "\w+"', "", required)
    assert re.search(r"^torch==2\.13\.0$", pinned, re.MULTILINE)
    assert re.search(r"^slicer-core==5\.12\.4\.0$", pinned, re.MULTILINE)
