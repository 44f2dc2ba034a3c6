"""What a run needs to go on, and what it must not go on with."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from GradientGuidedRegistrationLib.errors import Cancelled, Incomplete, InputError
from GradientGuidedRegistrationLib.model import build_network, describe, save_weights
from GradientGuidedRegistrationLib.registration.files import read_image, write_image
from GradientGuidedRegistrationLib.training import checkpoint, distributed, train, trainer
from GradientGuidedRegistrationLib.training.case import Case
from GradientGuidedRegistrationLib.training.case_table import read_cases
from GradientGuidedRegistrationLib.training.log import Table, draw_curves
from GradientGuidedRegistrationLib.training.own_files import FileSource
from GradientGuidedRegistrationLib.training.phantom import phantom_images
from GradientGuidedRegistrationLib.training.phantom.draws import Draws
from GradientGuidedRegistrationLib.training.settings import with_preset


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two pairs without segmentations."""
    for seed in (0, 1):
        images = phantom_images(seed, (36, 36, 32), 4.0)
        for name in ("fixed", "moving"):
            write_image(images[name], tmp_path / "pairs" / "training" / f"case{seed}" / f"{name}.nii.gz")
    return tmp_path / "pairs"


def interrupted(settings: Any) -> None:
    """A run that ends after its first step, with a checkpoint."""

    def stop(step: str, fraction: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        train(settings, progress=stop)


def test_weights_that_a_run_started_from_are_not_needed_any_more(small: Callable[..., Any], tmp_path: Path) -> None:
    """Nor is what they say of the network: this one is not the method's own."""
    start = tmp_path / "start.pt"
    network = build_network("vm", backbone="vm2")
    save_weights(network, start)
    interrupted(small(weights=(start,)))
    start.unlink()
    result = train(small(weights=(start,), resume=True))
    assert result.finished and result.steps == 6
    stored = torch.load(small().output / checkpoint.NAME, weights_only=True)
    assert {k: v.shape for k, v in stored["network"].items()} == {k: v.shape for k, v in network.state_dict().items()}


def test_a_run_does_not_go_on_with_other_pairs(small: Callable[..., Any], pairs: Path) -> None:
    options = {"data": pairs, "spacing": 6.0}
    interrupted(small(**options))
    resumed = small(**options, resume=True, steps=2, schedule="cosine")
    with pytest.raises(InputError, match="steps was 6, is 2"):
        train(resumed)
    before = (small().output / checkpoint.NAME).read_bytes()
    changed = pairs / "training" / "case0" / "moving.nii.gz"
    original = changed.read_bytes()
    write_image(read_image(changed, "moving image") + 40, changed)
    (pairs / "training" / "case1").rename(pairs / "training" / "case2")
    with pytest.raises(InputError, match="case1 is not there any more; case2 is new; case0 was changed. Bring them ba"):
        train(small(**options, resume=True))
    assert (small().output / checkpoint.NAME).read_bytes() == before
    changed.write_bytes(original)  # later than the cached arrays: read again, and found to be the same
    (pairs / "training" / "case2").rename(pairs / "training" / "case1")
    assert train(small(**options, resume=True)).finished


def test_a_run_goes_on_wherever_its_pairs_lie_now(
    small: Callable[..., Any], pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"spacing": 6.0, "steps": 2, "schedule": "cosine"}
    interrupted(small(data=pairs, **options))
    moved = tmp_path / "elsewhere" / "of another name"
    shutil.copytree(pairs, moved)
    pairs.rename(tmp_path / "gone")
    monkeypatch.chdir(tmp_path / "elsewhere")
    (moved / "training" / "case1").rename(moved / "training" / "case2")
    with pytest.raises(InputError, match="case1 is not there any more; case2 is new"):
        train(small(data=moved.name, **options, resume=True))
    (moved / "training" / "case2").rename(moved / "training" / "case1")
    (moved / "validation").mkdir()
    (moved / "training" / "case1").rename(moved / "validation" / "case1")
    with pytest.raises(InputError, match="case1 was for training, is for validation"):
        train(small(data=moved.name, **options, resume=True))
    (moved / "validation" / "case1").rename(moved / "training" / "case1")
    assert train(small(data=moved.name, **options, resume=True)).finished
    assert [case.fixed for case in read_cases(small().output / "pairs.csv")] == [
        moved / "training" / f"case{number}" / "fixed.nii.gz" for number in (0, 1)
    ]
    with pytest.raises(InputError, match="data was .*, is None"):
        train(small(**options, resume=True))


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["pairs.csv", "losses.csv", "link.csv"])
def test_a_run_does_not_write_over_its_inputs(
    small: Callable[..., Any], pairs: Path, tmp_path: Path, name: str, resume: bool
) -> None:
    table = "fixed,moving\ntraining/case0/fixed.nii.gz,training/case0/moving.nii.gz\n"
    (pairs / name.replace("link", "pairs")).write_text(table)
    if name == "link.csv":
        (pairs / name).symlink_to("pairs.csv")
    before = sorted(pairs.iterdir())
    with pytest.raises(InputError, match=f"{name} would be overwritten by this run.*; copy it elsewhere"):
        train(small(data=pairs / name, output=pairs, resume=resume))
    assert (pairs / name).read_text() == table and sorted(pairs.iterdir()) == before
    start = save_weights(build_network("vm"), tmp_path / "best.pt") or tmp_path / "best.pt"
    with pytest.raises(InputError, match="best.pt would be overwritten by this run"):
        train(small(weights=(start,), output=tmp_path))


def test_a_run_goes_on_in_its_order_of_pairs_whatever_that_of_the_rows(
    small: Callable[..., Any], pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, taken, seen = pairs / "pairs.csv", FileSource.training_case, []

    def rows(*order: int) -> None:
        names = [f"training/case{n}/fixed.nii.gz,training/case{n}/moving.nii.gz,training,{n}" for n in order]
        data.write_text("\n".join(["fixed,moving,split,name", *names]), encoding="utf-8")

    def followed(self: FileSource, number: int, d: Draws) -> Case:
        seen.append(taken(self, number, d))
        return seen[-1]

    rows(0, 1)
    source = FileSource(data, (32, 32, 32), 6.0, False, tmp_path / "cache")
    expected = [source.training_case(number, Draws(0)).names for number in range(3)]
    monkeypatch.setattr(FileSource, "training_case", followed)
    options = {"data": data, "spacing": 6.0, "batch": 1, "steps": 3, "validate_every": 9, "checkpoint_every": 9}
    interrupted(small(**options))
    rows(1, 0)
    interrupted(small(**options, resume=True))
    train(small(**options, resume=True))
    assert [case.names for case in seen] == expected


def test_weights_that_a_run_started_from_may_lie_elsewhere(small: Callable[..., Any], tmp_path: Path) -> None:
    start, other = tmp_path / "start.pt", tmp_path / "other.pt"
    for path in (start, other):
        save_weights(build_network("vm"), path)
    interrupted(small(steps=2, weights=(start,)))
    with pytest.raises(InputError, match="other.pt is not the weights file that it started from"):
        train(small(steps=2, weights=(other,), resume=True))
    with pytest.raises(InputError, match="weights was .*start.pt.*, is \\[\\]"):
        train(small(steps=2, resume=True))
    moved = start.rename(tmp_path / "moved.pt")
    assert train(small(steps=2, weights=(moved,), resume=True)).finished


def test_what_a_killed_run_left_half_written_is_removed(small: Callable[..., Any]) -> None:
    folder = small().output
    left = [folder / ".writing-abc.pt", folder / "cache" / ".writing-abc.npz"]
    (folder / "cache").mkdir(parents=True)
    for path in left:
        path.write_bytes(b"half")
    with checkpoint.RunFolder(small()):
        assert not any(path.exists() for path in left)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_that_outlives_the_run_does_not_keep_its_folder(small: Callable[..., Any]) -> None:
    """Workers of a run that was killed notice after some seconds; a resumption need not wait for them."""
    folder = checkpoint.RunFolder(small())
    (here, there), (waits, ends) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.write(there, b"x")
        os.read(waits, 1)
        os._exit(0)
    os.read(here, 1)
    with pytest.raises(InputError, match="Another run is writing"):
        checkpoint.RunFolder(small())
    folder.close()
    try:
        checkpoint.RunFolder(small()).close()
    finally:
        os.write(ends, b"x")
        os.waitpid(child, 0)


@pytest.mark.parametrize("name", ["best.pt", "last.pt"])
def test_weights_that_a_killed_run_did_not_get_to_are_written(
    small: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Killed after its last checkpoint, a run has nothing left to do but that."""
    calls = itertools.count()
    monkeypatch.setattr(trainer, "goodness", lambda figures: -next(calls))  # it gets better with every validation
    options = {"steps": 2, "validate_every": 2, "checkpoint_every": 1}
    train(small(**options))
    path = small().output / name
    expected = describe(path)
    assert expected.metadata["steps"] == expected.metadata["validation"]["step"] == 2
    for left in (None, build_network("vm")):  # none at all, and older ones
        path.unlink()
        if left is not None:
            save_weights(left, path, {"steps": 1})
        result = train(small(**options, resume=True))
        assert result.weights == small().output / "best.pt" and describe(path).metadata == expected.metadata


def test_best_weights_of_an_earlier_run_are_not_those_of_this_one(small: Callable[..., Any]) -> None:
    settings = small(steps=1, validation_cases=0)
    settings.output.mkdir()
    (settings.output / "best.pt").write_bytes(b"of an earlier run")
    assert train(settings).weights is None


@pytest.mark.parametrize("given", [{"crop": True}, {"spacing": 2.0, "initialization": "rigid"}])
def test_options_of_own_pairs_are_refused_without_any(given: dict[str, Any], tmp_path: Path) -> None:
    names = ", ".join("--" + name for name in given)
    with pytest.raises(InputError, match=f"{names}: of use with own pairs only, and no --data is given"):
        with_preset(tmp_path, **given)
    assert with_preset(tmp_path, "cpu").crop  # a preset knows of both
    assert with_preset(tmp_path, data=tmp_path, **given).data == tmp_path


@pytest.mark.parametrize(
    "given, words",
    [
        (
            {"data": "d", "validation_cases": 3, "validation_shape": (32, 32, 32)},
            "--validation-cases, --validation-shape",
        ),
        ({"data": "d", "validation_cases": 3, "phantom_fraction": 0.5}, "--validation-cases"),
        ({"data": "d", "zoom": (1, 2), "shapes_fraction": 0.0, "reuse": 1}, "--zoom, --shapes-fraction, --reuse"),
        ({"method": "vm", "alpha": 1.0, "beta": 0.5}, "--alpha, --beta"),
        ({"method": "vm-concat", "beta": 0.5}, "--beta"),
    ],
)
def test_options_without_effect_are_refused(given: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^{words}: of use with .*, or leave that out"):
        with_preset(tmp_path, **given)


def test_options_with_effect_are_not(tmp_path: Path) -> None:
    """What a preset brings is not what somebody asked for."""
    assert with_preset(tmp_path, "cpu", data="d").reuse == 8
    assert with_preset(tmp_path, data="d", phantom_fraction=0.5, zoom=(1, 2), reuse=2).reuse == 2
    assert with_preset(tmp_path, method="vm", gamma=2.0).gamma == 2 == with_preset(tmp_path, alpha=2.0).alpha
    with pytest.raises(InputError, match="--validation-cases: of .* leave that out. --alpha: of"):
        with_preset(tmp_path, data="d", method="vm", validation_cases=1, alpha=1.0)


def test_curves_of_pairs_without_labels_show_the_loss(tmp_path: Path) -> None:
    losses, scores = Table(tmp_path / "losses.csv", 0), Table(tmp_path / "validation.csv", 0)
    losses.add([{"step": step, "total": 1.0 / step} for step in range(1, 9)])
    scores.add([{"step": step, "loss": 0.5 / step, "dice": None} for step in (4, 8)])
    draw_curves(losses, scores, tmp_path / "curves.svg")
    text = (tmp_path / "curves.svg").read_text(encoding="utf-8")
    assert "mean organ Dice" not in text and text.count("<polyline") + text.count("<path") >= 2


def test_tensorboard_forgets_steps_that_are_done_again(small: Callable[..., Any], monkeypatch: Any) -> None:
    """Killed between checkpoints, a run does some steps twice."""
    asked: list[int | None] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int | None) -> None:
            asked.append(purge_step)

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *_args, **_options: None

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", type(sys)("tensorboard"))
    monkeypatch.setattr(sys.modules["torch.utils.tensorboard"], "SummaryWriter", Writer, raising=False)
    interrupted(small(steps=2))
    train(small(steps=2, resume=True))
    assert asked == [None, 2]


@pytest.mark.parametrize(
    ("rank", "said", "error", "told"),
    [
        (1, "[../gloo/transport/tcp/pair.cc:547] Connection closed by peer", Incomplete, "Process 1 stopped since"),
        (0, "[../gloo/transport/tcp/pair.cc:547] Connection closed by peer", RuntimeError, "Connection closed by peer"),
        (1, "mat1 and mat2 shapes cannot be multiplied", RuntimeError, "mat1 and mat2"),
    ],
)
def test_a_process_that_is_left_alone_says_so(
    small: Callable[..., Any], monkeypatch: Any, rank: int, said: str, error: type[Exception], told: str
) -> None:
    """What the leading process says, and what other errors say, is not hidden."""

    def alone(self: Any) -> None:
        raise RuntimeError(said)

    process = distributed.Processes(rank, 2, torch.device("cpu"))
    monkeypatch.setattr(distributed, "start", lambda device: process)
    monkeypatch.setattr(distributed.Processes, "wait", alone)
    with pytest.raises(error, match=told):
        train(small())


@pytest.mark.skipif(sys.platform == "win32", reason="gloo with torchrun is tested on Linux and macOS")
def test_the_other_processes_call_it_no_bug_when_the_first_one_ends(scripts: Path, pairs: Path, tmp_path: Path) -> None:
    """The leading process alone prepares the pairs; the other one is waiting for it."""
    (pairs / "training" / "case0" / "fixed.nii.gz").write_bytes(b"no image")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(scripts / "train.py"), "--output", str(tmp_path / "run"), "--data", str(pairs)]
    command += ["--method", "vm", "--shape", "32", "32", "32", "--spacing", "6", "--steps", "1", "--device", "cpu"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode != 0 and "This is a bug" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("train.py: ")]
    assert any("cannot be used" in line for line in told), done.stderr[-3000:]
