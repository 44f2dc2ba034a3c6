"""The rules of CONTRIBUTING.md that can be counted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[1] / "GradientGuidedRegistration"
FOLDERS = ("GradientGuidedRegistration", "Resources", "Testing", "docs")
LONGEST = 400
LONG_FOR_A_REASON = {"GradientGuidedRegistration/GradientGuidedRegistration.py"}  # Slicer wants five classes in it


def test_no_file_is_too_long(repository: Path) -> None:
    files = [path for folder in FOLDERS for path in (repository / folder).rglob("*.py")]
    lines = {path.relative_to(repository).as_posix(): len(path.read_bytes().splitlines()) for path in files}
    assert len(lines) > 200
    assert {name for name, count in lines.items() if count > LONGEST} == LONG_FOR_A_REASON


def public(node: ast.AST, name: str) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    """The public classes, functions and methods of a file, with their names."""
    for child in getattr(node, "body", []):
        if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
            yield f"{name}{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{name}{child.name}.")


def unannotated(function: ast.FunctionDef) -> list[str]:
    """Arguments without a type, and "return"."""
    a = function.args
    arguments = [
        *a.posonlyargs,
        *a.args,
        *a.kwonlyargs,
        *([a.vararg] if a.vararg else []),
        *([a.kwarg] if a.kwarg else []),
    ]
    bare = [one.arg for one in arguments if one.annotation is None and one.arg not in ("self", "cls")]
    return bare + ([] if function.returns is not None else ["return"])


@pytest.mark.parametrize("path", sorted(MODULE.rglob("*.py")), ids=lambda path: path.relative_to(MODULE).as_posix())
def test_everything_public_is_explained_and_typed(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the file itself"
    for name, node in public(tree, ""):
        assert ast.get_docstring(node), f"{name} needs a docstring"
        if isinstance(node, ast.FunctionDef):
            assert unannotated(node) == [], f"{name} needs types"
