"""A training that is interrupted anywhere keeps its last whole step and goes on as if it had not been."""

from __future__ import annotations

import csv
import multiprocessing
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from GradientGuidedRegistrationLib.interruption import uninterrupted
from GradientGuidedRegistrationLib.training import checkpoint, train, trainer

SHORT = {"steps": 4, "validate_every": 2, "checkpoint_every": 2}


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table without the times in it."""
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "minutes"} for row in csv.DictReader(file)]


def at_call(count: int, function: Callable, interrupt: Callable[[], None]) -> Callable:
    """The function, interrupted at one of its calls."""
    calls = []

    def called(*arguments, **options):
        calls.append(1)
        if len(calls) == count:
            interrupt()
        return function(*arguments, **options)

    return called


def raised() -> None:
    raise KeyboardInterrupt


def sent() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    """Make the uninterrupted run once."""
    made: dict[str, Path] = {}

    def make(small) -> Path:
        if not made:
            made["run"] = tmp_path_factory.mktemp("whole") / "run"
            train(small(made["run"], **SHORT))
        return made["run"]

    return make


@pytest.mark.parametrize("place, name, count, interrupt, step", [
    (trainer, "seen_in_step", 3, raised, 2),  # within a step
    (torch.optim.Adam, "step", 3, sent, 3),  # while the weights change: the step is finished first
    (trainer, "score", 1, raised, 0),  # in the first validation
    (trainer, "score", 2, raised, 2),  # in the validation of a step, which is made up for
    (trainer, "score", 3, raised, 4),  # in the last one
    (trainer.Table, "add", 3, sent, 2),  # between a step and its row in the table
    (checkpoint, "save", 1, raised, 2),  # while a checkpoint is written
])  # fmt: skip
def test_resumed_run_is_bit_equal(
    small, monkeypatch, whole, place, name: str, count: int, interrupt, step: int
) -> None:
    expected = whole(small)
    monkeypatch.setattr(place, name, at_call(count, getattr(place, name), interrupt))
    with pytest.raises(KeyboardInterrupt):
        train(small(**SHORT))
    monkeypatch.undo()
    assert torch.load(small().output / checkpoint.NAME, weights_only=True)["step"] == step
    train(small(resume=True, **SHORT))
    a, b = (torch.load(folder / checkpoint.NAME, weights_only=True) for folder in (expected, small().output))
    assert a["step"] == b["step"] == 4 and a["best"] == b["best"]
    for name, value in a["network"].items():
        assert torch.equal(value, b["network"][name])
    for key, state in a["optimizer"]["state"].items():
        assert torch.equal(state["exp_avg_sq"], b["optimizer"]["state"][key]["exp_avg_sq"])
    for table in ("losses.csv", "validation.csv"):
        assert rows(expected / table) == rows(small().output / table)


def test_workers_end_with_the_run(small) -> None:
    def interrupt(step: str, done: float) -> None:
        assert len(multiprocessing.active_children()) == 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as kept:
        train(small(workers=2), progress=interrupt)
    assert kept.traceback and not multiprocessing.active_children()


def test_network_is_centred_once_a_step(small, monkeypatch) -> None:
    """A step that validates and saves has one copy for both."""
    steps = []
    original = trainer.centre
    monkeypatch.setattr(trainer, "centre", lambda network, images: steps.append(1) or original(network, images))
    train(small(**SHORT))
    assert len(steps) == 3  # steps 0, 2 and 4
    best, last = (torch.load(small().output / name, weights_only=True) for name in ("best.pt", "last.pt"))
    assert best.keys() == last.keys()


def test_signals_are_held_back_and_let_through() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        sent()
        done.append("whole")
    assert done == ["whole"]
    handler = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: uninterrupted().__enter__() or done.append("in a thread"))
    thread.start()
    thread.join()
    assert done == ["whole", "in a thread"] and signal.getsignal(signal.SIGINT) is handler
