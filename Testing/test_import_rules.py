"""Which room may import what: the table of the architecture, held by reading every import of the library."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PACKAGE = "GradientGuidedRegistrationLib"
MODULE_FOLDER = Path(__file__).resolve().parents[1] / "GradientGuidedRegistration"
LIBRARY = MODULE_FOLDER / PACKAGE


@dataclass(frozen=True)
class Rule:
    """What the files of a room may import.

    packages: third-party packages, anywhere in a file; `lazily`: those that may be imported inside functions only.
    rooms: other rooms and single files of the library.
    """

    packages: frozenset[str]
    rooms: frozenset[str]
    lazily: frozenset[str] = field(default=frozenset())


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


HELPERS = names("csv_rows interruption lazy_names waiting whole_files")  # of the standard library only, for every room
RULES = {
    "model": Rule(names("torch numpy"), names("errors")),
    "training": Rule(names("torch numpy SimpleITK"), names("errors model registration evaluation figures")),
    "registration": Rule(names("torch numpy SimpleITK"), names("errors model evaluation")),
    "evaluation": Rule(names("numpy SimpleITK"), names("errors")),
    "figures": Rule(names("numpy SimpleITK"), names("errors evaluation registration"), names("vtk vtkmodules")),
    "mrml": Rule(names("slicer vtk numpy SimpleITK"), names("errors registration evaluation")),
    "panel": Rule(
        names("slicer vtk qt ctk"),
        names("errors worker mrml registration evaluation"),
        names("PyTorchUtils SampleData"),
    ),
    "self_tests.py": Rule(
        names("slicer"),
        names("errors headless mrml evaluation registration panel training"),
        names("numpy SimpleITK vtk GradientGuidedRegistration"),
    ),
    "command.py": Rule(names(""), names("errors")),
    "job.py": Rule(
        names("numpy SimpleITK"), names("command errors renderer registration evaluation figures"), names("torch")
    ),
    "renderer.py": Rule(names(""), names("figures mrml"), names("slicer")),
    "worker.py": Rule(
        names("numpy SimpleITK"), names("errors job renderer registration evaluation figures training"), names("torch")
    ),
    "headless.py": Rule(names(""), names("headless_modules"), names("slicer vtk")),
    "headless_modules.py": Rule(names(""), names("headless"), names("slicer")),
    "csv_rows.py": Rule(names(""), names("errors")),
    "interruption.py": Rule(names(""), names("")),
    "lazy_names.py": Rule(names(""), names("")),
    "waiting.py": Rule(names(""), names("")),
    "whole_files.py": Rule(names(""), names("")),
    "errors.py": Rule(names(""), names("")),
    "__init__.py": Rule(names(""), names("")),
}


@dataclass(frozen=True)
class Import:
    """One import: a third-party package, or a room of the library (`package` is then None)."""

    package: str | None
    room: str | None
    at_file_scope: bool
    line: int


def imports(path: Path, root: Path) -> Iterator[Import]:
    """The third-party and library imports of a file, those for type checkers left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    location = path.relative_to(root).parts[:-1]
    pending: list[tuple[ast.AST, bool]] = [(tree, True)]
    while pending:
        node, file_scope = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        inner = file_scope and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        pending.extend((child, inner) for child in ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = (PACKAGE, *location)[: len(location) + 2 - node.level]
            prefix = ".".join((*base, *([node.module] if node.module else [])))
            targets = [f"{prefix}.{alias.name}" for alias in node.names] if prefix == PACKAGE else [prefix]
        elif isinstance(node, ast.ImportFrom):
            targets = (
                [f"{PACKAGE}.{alias.name}" for alias in node.names] if node.module == PACKAGE else [str(node.module)]
            )
        else:
            continue
        for target in targets:
            first, *rest = target.split(".")
            if first == PACKAGE:
                yield Import(None, rest[0] if rest else "__init__", file_scope, node.lineno)
            elif first not in sys.stdlib_module_names and first != "__main__":
                yield Import(first, None, file_scope, node.lineno)


def room_of(path: Path) -> str:
    parts = path.relative_to(LIBRARY).parts
    return parts[0]


def broken_rules(path: Path, root: Path, room: str, rule: Rule) -> list[str]:
    """A sentence for each import of a file that its room may not do."""
    found = []
    for one in imports(path, root):
        where = f"{path.relative_to(root)}:{one.line}"
        if one.package is not None and one.package not in rule.packages:
            if one.package not in rule.lazily:
                found.append(f"{where}: {room} may not import {one.package}")
            elif one.at_file_scope:
                found.append(f"{where}: {room} may import {one.package} inside functions only")
        own = room.removesuffix(".py")
        if one.room is not None and one.room not in rule.rooms | {own, "__version__"} | HELPERS:
            found.append(f"{where}: {room} may not import {PACKAGE}.{one.room}")
    return found


FILES = sorted(path for path in LIBRARY.rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_library_file_keeps_to_its_room(path: Path) -> None:
    room = room_of(path)
    assert room in RULES, f"{room} has no row in the table"
    assert broken_rules(path, LIBRARY, room, RULES[room]) == []


def test_module_file_starts_without_torch_and_simpleitk() -> None:
    """Slicer starts without PyTorch, and the panel must open to say so."""
    path = MODULE_FOLDER / "GradientGuidedRegistration.py"
    allowed = names("slicer vtk qt ctk numpy")
    at_start = {one.package for one in imports(path, MODULE_FOLDER) if one.at_file_scope and one.package}
    assert at_start <= allowed
    rooms = {one.room for one in imports(path, MODULE_FOLDER) if one.room and one.at_file_scope}
    assert rooms <= {"errors", "panel", "self_tests"}
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from GradientGuidedRegistrationLib import headless; "
        "headless.load_module(); print(*[name for name in ('torch', 'SimpleITK') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code, str(MODULE_FOLDER)], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr


def test_logic_holds_no_qt_and_widget_no_arrays() -> None:
    tree = ast.parse((MODULE_FOLDER / "GradientGuidedRegistration.py").read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}

    def used(class_name: str) -> set[str]:
        return (
            {node.id for node in ast.walk(classes[class_name]) if isinstance(node, ast.Name)}
            | {
                alias.name.partition(".")[0]
                for node in ast.walk(classes[class_name])
                if isinstance(node, ast.Import)
                for alias in node.names
            }
            | {
                str(node.module).partition(".")[0]
                for node in ast.walk(classes[class_name])
                if isinstance(node, ast.ImportFrom)
            }
        )

    assert not used("GradientGuidedRegistrationLogic") & {"qt", "ctk"}
    assert not used("GradientGuidedRegistrationWidget") & {"torch", "SimpleITK", "sitk"}


def test_the_reader_of_imports_sees_what_it_should(tmp_path: Path) -> None:
    """The check itself: file scope and functions told apart, relative imports resolved, type checking left out."""
    folder = tmp_path / "model"
    folder.mkdir()
    path = folder / "probe.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nimport os\nimport torch.nn as nn\nfrom ..registration.files import read\n"
        "from .. import evaluation\nfrom . import other\nif TYPE_CHECKING:\n    import pandas\n"
        "def f():\n    import vtk\n    from ..mrml import images\n"
        f"from {PACKAGE}.training import phantom\n",
        encoding="utf-8",
    )
    seen = {(one.package or one.room, one.at_file_scope) for one in imports(path, tmp_path)}
    assert seen == {
        ("torch", True),
        ("registration", True),
        ("evaluation", True),
        ("model", True),
        ("vtk", False),
        ("mrml", False),
        ("training", True),
    }
    broken = broken_rules(path, tmp_path, "model", RULES["model"])
    assert len(broken) == 5
    lazy = broken_rules(
        path, tmp_path, "model", Rule(names("torch"), names("registration evaluation mrml training"), names("vtk"))
    )
    assert lazy == []


def test_importing_the_library_imports_nothing_heavy() -> None:
    heavy = "torch SimpleITK vtk slicer numpy"
    code = (
        f"import sys; sys.path.insert(0, {str(MODULE_FOLDER)!r}); import {PACKAGE}, {PACKAGE}.headless; "
        f"print(*[name for name in {heavy.split()!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == ""
