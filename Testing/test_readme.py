"""Every command of the README is run.

Blocks without a language are commands, those with one are data. They run in a temporary folder with a copy of the
module, on small images, with the options of `FAST` appended, which only make the work less. What needs Slicer, several
GPUs or an installation is named in `PARSED`: there the command line itself is checked.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
_TRAINING = ("--preset cpu --steps 2 --shape 32 32 32 --batch 1 --workers 0 --device cpu "
             "--checkpoint-every 2 --validate-every 2 --threads 1 --quiet").split()  # fmt: skip
_ON_PHANTOMS = ["--validation-cases", "1"]
FAST = {
    "register.py": ["--refine", "3", "--quiet"],
    "train.py": _TRAINING,
    "evaluate.py": "--cases 1 --size 48 48 48 --spacing 5 --device cpu --rows Moving Ours(gated) --quiet".split(),
}
PARSED = ("make", "torchrun", "Slicer")


def blocks(language: str) -> list[str]:
    """The fenced blocks of the README with this language, without their indentation."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", README, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, kind, body in found if kind == language]


def commands() -> list[list[str]]:
    """Each command as words."""
    text = "\n".join(blocks("")).replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines() if line.strip()]


COMMANDS = commands()
RUN = [command for command in COMMANDS if command[0] not in PARSED]


def test_the_readme_has_the_commands_it_is_about() -> None:
    assert ["make", "demo"] in COMMANDS and ["make", "test"] in COMMANDS
    assert {Path(command[1]).name for command in RUN} == set(FAST)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the reader has it: the module, an MR, a CT, and the pairs of the README's table."""
    from GradientGuidedRegistrationLib.training.phantom import phantom_images

    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(REPOSITORY / "GradientGuidedRegistration", folder / "GradientGuidedRegistration",
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    images = phantom_images(4, shape=(40, 40, 40), spacing=4.0)
    sitk.WriteImage(images["fixed"], str(folder / "mr.nii.gz"))
    sitk.WriteImage(images["moving"], str(folder / "ct.nii.gz"))
    [table] = blocks("csv")
    (folder / "pairs.csv").write_text(table, encoding="utf-8")
    header, *rows = table.splitlines()
    for row in rows:
        for column, path in zip(header.split(",")[:4], row.split(",")):
            (folder / path).parent.mkdir(exist_ok=True)
            sitk.WriteImage(images[column], str(folder / path))
    return folder


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
                          text=True, encoding="utf-8", timeout=300)  # fmt: skip


@pytest.mark.parametrize("command", RUN, ids=lambda command: " ".join(command[1:])[-60:])
def test_the_command_does_what_it_says(checkout: Path, command: list[str]) -> None:
    assert command[0] == ".venv/bin/python"
    script, output = Path(command[1]).name, command[command.index("--output") + 1] if "--output" in command else None
    if output is not None:
        shutil.rmtree(checkout / output, ignore_errors=True)
    few = _ON_PHANTOMS if script == "train.py" and "--data" not in command else []
    ended = run([sys.executable, *command[1:], *FAST[script], *few], checkout)
    assert ended.returncode == 0, ended.stderr
    written = {"register.py": ["ct_to_mr.h5", "ct_on_mr.nii.gz", "report/report.html"],
               "train.py": [f"{output}/{name}" for name in ("losses.csv", "validation.csv", "curves.svg", "best.pt",
                                                            "checkpoint.pt")],
               "evaluate.py": [f"{output}/{name}" for name in ("table.txt", "table.csv", "table.svg")]}  # fmt: skip
    for name in written[script]:
        assert (checkout / name).stat().st_size > 0, name


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_knows_the_target(target: str) -> None:
    ended = run(["make", "-n", target], REPOSITORY)
    assert ended.returncode == 0, ended.stderr
    assert {"demo": "register.py", "test": "pytest"}[target] in ended.stdout


def test_demo_runs_on_a_small_patient(checkout: Path) -> None:
    """The very lines of `make demo`, with another size."""
    lines = run(["make", "-n", "demo"], REPOSITORY).stdout.replace("\\\n", " ").splitlines()
    demo = [line for line in lines if "Scripts/" in line]
    assert len(demo) == 2
    for line in demo:
        words = shlex.split(line.replace("--size 160 128 112 --spacing 2", "--size 44 40 40 --spacing 6"))
        ended = run([sys.executable, *words[1:]], checkout)
        assert ended.returncode == 0, ended.stderr
    assert "mean" in ended.stdout and (checkout / "demo" / "report" / "report.html").is_file()


def test_commands_for_other_hosts_are_understood(checkout: Path) -> None:
    """Only the script and its options: the launcher is not here."""
    others = [command for command in COMMANDS if command[0] in ("torchrun", "Slicer")]
    assert others
    for command in others:
        at = next(number for number, word in enumerate(command) if word.endswith(".py"))
        ended = run([sys.executable, *command[at:], "--help"], checkout)
        assert ended.returncode == 0, ended.stderr


def test_what_the_commands_write_is_no_part_of_the_repository() -> None:
    options = ("--output", "--transform", "--warped", "--report")
    written = {word for command in RUN for option, word in zip(command, command[1:]) if option in options} | {"demo"}
    assert len(written) >= 7
    for path in written | {".venv"}:
        ignored = run(["git", "check-ignore", "-q", path if "." in path else f"{path}/"], REPOSITORY)
        if ignored.returncode == 128:
            pytest.skip("not a git checkout")
        assert ignored.returncode == 0, f".gitignore does not name {path}"


PAGES = sorted(path for pattern in ("*.md", "[!.]*/**/*.md") for path in REPOSITORY.glob(pattern))


def anchor(heading: str) -> str:
    """The address that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, section = target.partition("#")
        place = page.parent / name if name else page
        assert place.exists(), target
        if section:
            headings = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            assert section in map(anchor, headings), target


def test_the_command_reference_names_every_option() -> None:
    """The layout of help texts differs between Python versions, the options do not."""
    text = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
    for script in ("register.py", "train.py", "evaluate.py", "phantom.py"):
        section = text.split(f"## {script}\n")[1].split("\n## ")[0]
        path = REPOSITORY / "GradientGuidedRegistration" / "Scripts" / script
        said = run([sys.executable, str(path), "--help"], REPOSITORY).stdout
        assert set(re.findall(r"--[a-z-]+", section)) == set(re.findall(r"--[a-z-]+", said)), script
