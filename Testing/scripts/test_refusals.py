"""What the scripts cannot do they refuse before anything is written: one line, status 2, no folder left behind."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

TRAIN = ["train.py", "--preset", "cpu", "--steps", "1", "--quiet"]
EVALUATE = ["evaluate.py", "--cases", "1", "--size", "32", "32", "32", "--spacing", "6", "--quiet"]
PHANTOM = ["phantom.py", "--size", "32", "32", "32"]
NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


def main_of(script: Path) -> Any:
    """`main` of a script, in this process."""
    spec = importlib.util.spec_from_file_location(f"{script.stem}_script", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.mark.parametrize("command, words", [
    pytest.param([*TRAIN, "--device", "cuda"], "'cuda' is not available", marks=NO_CUDA),
    pytest.param([*TRAIN, "--device", "cuda:1"], "'cuda' is not available", marks=NO_CUDA),
    pytest.param([*EVALUATE, "--device", "cuda"], "'cuda' is not available", marks=NO_CUDA),
    pytest.param([*PHANTOM, "--device", "cuda"], "'cuda' is not available", marks=NO_CUDA),
    ([*TRAIN, "--device", "tpu"], "auto, cpu, cuda, mps"),
    ([*EVALUATE, "--device", "tpu"], "auto, cpu, cuda, mps"),
    ([*PHANTOM, "--device", "tpu"], "auto, cpu, cuda, mps"),
    ([*TRAIN, "--data", "missing.csv"], "missing.csv does not exist"),
    (["evaluate.py", "--data", "missing.csv"], "missing.csv does not exist"),
    ([*EVALUATE, "--data", "missing.csv"], "--cases, --size, --spacing: of use with phantoms only"),
    ([*EVALUATE[:1], "--data", "x", "--first-seed", "0", "--strength", "1"], "--first-seed, --strength: of use"),
    ([*TRAIN, "--weights", "missing.pt"], "missing.pt"),
    ([*TRAIN, "--resume"], "leave out --resume"),
    ([*EVALUATE, "--weights", ".", "--rows", "VM"], "link best.pt of a run to the name of its method, gated.pt for"),
    ([*EVALUATE, "--spacing", "-1"], "spacing in mm is -1.0"),
    ([*PHANTOM, "--spacing", "-1"], "spacing in mm is -1.0"),
    ([*PHANTOM, "--strength", "nan"], "strength is nan"),
    ([*PHANTOM, "--seed", "-1"], "seed is -1"),
    ([*PHANTOM, "--sequence", "dwi"], "t1-contrast"),
    ([*PHANTOM, "--phase", "late"], "arterial"),
    ([*PHANTOM[:1], "--size", *["100000"] * 3], "100000 x 100000 voxels does not fit into the memory"),
])  # fmt: skip
def test_refused_in_one_line_and_nothing_is_written(
    _host: Any, scripts: Path, tmp_path: Path, monkeypatch: Any, capsys: Any, command: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    script, *options = command
    assert main_of(scripts / script)(["--output", "out", *options]) == 2
    told = capsys.readouterr().err.strip()
    assert words in told and "\n" not in told and "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", ["register.py", "train.py", "evaluate.py"])
def test_each_script_offers_the_same_alignments(_host: Any, scripts: Path, capsys: Any, script: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main_of(scripts / script)(["--output", "out", "--initialization", "magic"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert all(choice in told for choice in ("none", "rigid", "affine"))


def test_a_phantom_needs_the_name_of_a_folder(_host: Any, scripts: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """The empty path is the folder in which one is."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main_of(scripts / "phantom.py")(["--output", "", *PHANTOM[1:]])
    assert ended.value.code == 2 and list(tmp_path.iterdir()) == []
