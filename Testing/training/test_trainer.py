"""The training loop: it learns, resumes bit-equal, keeps what it has, and refuses what cannot work."""

from __future__ import annotations

import csv
import errno
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from GradientGuidedRegistrationLib.errors import Cancelled, InputError
from GradientGuidedRegistrationLib.model import describe, load_weights
from GradientGuidedRegistrationLib.training import checkpoint, distributed, train, trainer
from GradientGuidedRegistrationLib.training.phantom import phantom_pair
from GradientGuidedRegistrationLib.training.phantoms import PhantomSource, as_case
from GradientGuidedRegistrationLib.training.settings import PRESETS, with_preset


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stop_at(fraction: float):
    def progress(step: str, done: float) -> None:
        if done >= fraction - 1e-9:
            raise Cancelled

    return progress


def test_run_leaves_tables_curves_and_weights(small) -> None:
    result = train(small(method="gated", steps=4, validate_every=2))
    folder = result.weights.parent
    losses, scores = rows(folder / "losses.csv"), rows(folder / "validation.csv")
    assert [row["step"] for row in losses] == ["1", "2", "3", "4"]
    terms = ("image_similarity", "gradient_similarity", "smoothness", "gradient_smoothness")
    for row in losses:
        i, g, s, r = (float(row[name]) for name in terms)
        assert float(row["total"]) == pytest.approx(i + 0.5 * g + 1.0 * s + 0.5 * r, rel=1e-4)  # eq. 2
    assert [row["step"] for row in scores] == ["0", "2", "4"]
    assert 0 < float(scores[-1]["dice"]) < 1
    assert float(scores[-1]["asd_mm"]) > 0
    assert float(scores[-1]["folding_percent"]) == 0
    assert "<svg" in (folder / "curves.svg").read_text(encoding="utf-8")
    assert load_weights(result.weights).name == "gated"
    assert describe(result.weights).metadata["data"] == "phantoms"
    assert result.finished


def test_weights_say_how_good_they_themselves_are(small) -> None:
    """Those of the last step were validated at it, or not at all."""
    settings = small(steps=4, validate_every=4, checkpoint_every=2, validation_cases=1)
    with pytest.raises(Cancelled):
        train(settings, progress=stop_at(0.75))
    assert describe(settings.output / "last.pt").metadata["validation"] == {}
    assert describe(settings.output / "best.pt").metadata["validation"]["step"] == 0
    train(small(steps=4, validate_every=4, checkpoint_every=2, validation_cases=1, resume=True))
    last = describe(settings.output / "last.pt").metadata["validation"]
    score = rows(settings.output / "validation.csv")[-1]
    assert last["step"] == 4 and last["loss"] == pytest.approx(float(score["loss"]), rel=1e-5)


def test_loss_is_drawn_without_any_validation(small) -> None:
    settings = small(steps=2, validation_cases=0)
    train(settings)
    picture = (settings.output / "curves.svg").read_text(encoding="utf-8")
    assert "Training loss" in picture and "<polyline" in picture and "Validation" not in picture


def test_resumed_run_is_bit_equal(small) -> None:
    whole, parts = small("whole", schedule="constant"), small("parts", schedule="constant")
    train(whole)
    with pytest.raises(Cancelled):
        train(parts, progress=stop_at(0.5))
    train(small("parts", schedule="constant", resume=True))
    a, b = (torch.load(s.output / checkpoint.NAME, weights_only=True) for s in (whole, parts))
    assert a["step"] == b["step"] == 6
    for name, value in a["network"].items():
        assert torch.equal(value, b["network"][name])
    for key, state in a["optimizer"]["state"].items():
        assert torch.equal(state["exp_avg_sq"], b["optimizer"]["state"][key]["exp_avg_sq"])
    assert (whole.output / "losses.csv").read_text() == (parts.output / "losses.csv").read_text()


def test_rows_after_the_last_checkpoint_are_written_once(small) -> None:
    """Killed between checkpoints: the table goes on where the checkpoint is, with no step twice."""
    settings = small(checkpoint_every=2, steps=5, schedule="constant")
    seen = []

    def die(step: str, done: float) -> None:
        seen.append(done)
        if len(seen) == 3:
            raise MemoryError  # no checkpoint is written, as when the process is killed

    with pytest.raises(MemoryError):
        train(settings, progress=die)
    train(small(checkpoint_every=2, steps=5, schedule="constant", resume=True))
    assert [row["step"] for row in rows(settings.output / "losses.csv")] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    "method, coarse_first", [("gated", False), ("average", False), ("vm", False), ("vm-concat", False), ("gated", True)]
)
def test_each_network_learns(small, monkeypatch, method: str, coarse_first: bool) -> None:
    """On one repeated pair the loss falls clearly within a few steps; of two passes, that of the coarse one."""
    side, zoom = (32, 1.0) if coarse_first else (16, 2.0)
    case = as_case(phantom_pair(4, (side, side, side), zoom=zoom), "phantom 4")
    monkeypatch.setattr(PhantomSource, "__call__", lambda self, number: case)
    settings = small(method=method, coarse_first=coarse_first, shape=(side, side, side), augment=False,
                     steps=60 if coarse_first else 30,
                     shapes_fraction=0.0, zoom=(2.0, 2.0), schedule="constant", learning_rate=3e-3,
                     validate_every=100, checkpoint_every=100, validation_cases=0)  # fmt: skip
    train(settings)
    similarity = [float(row["image_similarity"]) for row in rows(settings.output / "losses.csv")]
    if coarse_first:
        similarity = similarity[::2]
    assert min(similarity[-3:]) < 0.93 * similarity[0]


def test_objective_compares_what_the_window_cuts_off(small, monkeypatch) -> None:
    """The network is shown the window; air and bone count in the loss alone."""
    case = PhantomSource((32, 32, 32), (1.0, 1.0), 0.0, 0, torch.device("cpu"))(0)
    seen = []
    for full in (case.moving_full, case.moving):
        given = replace(case, moving_full=full)
        monkeypatch.setattr(PhantomSource, "__call__", lambda self, number, given=given: given)
        run = small(f"run{len(seen)}", steps=1, augment=False, learning_rate=1e-9)
        train(run)
        seen += rows(run.output / "losses.csv")
    assert seen[0]["smoothness"] == seen[1]["smoothness"]
    assert abs(float(seen[0]["image_similarity"]) - float(seen[1]["image_similarity"])) > 0.005


def test_data_of_a_step_does_not_depend_on_workers(small) -> None:
    for folder, workers in (("none", 0), ("two", 2)):
        train(small(folder, workers=workers, steps=3, schedule="constant"))
    a, b = (small(folder).output / "losses.csv" for folder in ("none", "two"))
    assert a.read_text() == b.read_text()


def test_loss_that_is_not_finite_stops_with_step_and_case(small, monkeypatch) -> None:
    original = PhantomSource.__call__

    def broken(self, number: int):
        case = original(self, number)
        return replace(case, fixed_mask=case.fixed_mask * float("nan")) if number == 8 else case

    monkeypatch.setattr(PhantomSource, "__call__", broken)
    settings = small()
    with pytest.raises(
        InputError, match=r"not finite at step 5 \(case phantom 2147483656, phantom 2147483657\).*last good checkpoint"
    ):
        train(settings)
    stored = torch.load(settings.output / checkpoint.NAME, weights_only=True)
    assert stored["step"] == 3
    assert all(torch.isfinite(value).all() for value in stored["network"].values())


def test_loss_that_is_not_finite_names_the_cases_of_its_process(small, monkeypatch) -> None:
    """All processes have the mean, which is broken in each; here it is by the last one of three."""
    processes = distributed.Processes(0, 3, torch.device("cpu"))

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        of_another = torch.full_like(values, float("nan"))
        of_another[-3:] = torch.tensor([0.0, 0.0, 1.0])
        return (2 * values + of_another) / 3

    monkeypatch.setattr(distributed, "start", lambda device: processes)
    monkeypatch.setattr(distributed.Processes, "mean", mean)
    monkeypatch.setattr(distributed.Processes, "parallel", lambda self, network: network)
    monkeypatch.setattr(distributed.Processes, "wait", lambda self: None)
    with pytest.raises(InputError, match=r"not finite at step 1 \(case phantom 2147483650, phantom 2147483653\)"):
        train(small())


def test_a_network_that_breaks_is_not_written(small, monkeypatch) -> None:
    """A gradient can be NaN where the loss is finite: the last good checkpoint and weights stay."""
    step = torch.optim.Adam.step

    def broken(self, *arguments, **options):
        step(self, *arguments, **options)
        parameter = self.param_groups[0]["params"][0]
        if self.state[parameter]["step"] == 5:
            parameter.fill_(float("nan"))

    monkeypatch.setattr(torch.optim.Adam, "step", torch.no_grad()(broken))
    settings = small(steps=5)
    with pytest.raises(InputError, match="not finite any more after step 5"):
        train(settings)
    stored = torch.load(settings.output / checkpoint.NAME, weights_only=True)
    assert stored["step"] == 3
    assert all(value.isfinite().all() for value in stored["network"].values())
    assert describe(settings.output / "last.pt").metadata["steps"] == 3


def test_full_disk_leaves_the_old_checkpoint(small, monkeypatch) -> None:
    settings = small(steps=3)
    train(settings)
    before = (settings.output / checkpoint.NAME).read_bytes()

    def full(content, file, *rest):
        file.write(b"x" * 1000)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"No space left on device.*previous checkpoint is intact"):
        checkpoint.save(settings.output, {"settings": {}, "world": 1})
    monkeypatch.undo()
    assert (settings.output / checkpoint.NAME).read_bytes() == before
    assert not list(settings.output.glob(".writing-*"))


def test_resume_with_other_settings_names_them_all(small) -> None:
    train(small(steps=3))
    with pytest.raises(InputError, match=r"learning_rate was 0.001, is 0.01; method was 'vm', is 'gated'"):
        train(small(steps=3, resume=True, method="gated", learning_rate=0.01))


def test_second_run_into_a_folder_is_refused(small) -> None:
    settings = small(steps=3)
    with checkpoint.RunFolder(settings), pytest.raises(InputError, match="Another run is writing"):
        train(settings)
    train(settings)
    with pytest.raises(InputError, match="holds a run already"):
        train(settings)


def test_time_limit_ends_with_a_checkpoint(small) -> None:
    result = train(small(steps=1000, time_limit=1e-4))
    assert not result.finished
    assert (small().output / checkpoint.NAME).is_file()


def test_time_limit_counts_what_comes_before_the_first_step(small, monkeypatch) -> None:
    """Own pairs may be read and aligned for long."""
    late = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late[0], sleep=time.sleep)
    monkeypatch.setattr(trainer, "time", clock)
    monkeypatch.setattr(trainer, "file_source", lambda *_: late.append(late.pop() + 3600.0))
    result = train(small(steps=3, time_limit=50))
    assert result.steps == 1 and not result.finished


def test_presets_hold_the_papers_settings() -> None:
    abdomen, kidney = (with_preset("x", f"paper-{name}") for name in ("abdomen", "kidney"))
    assert (abdomen.shape, kidney.shape) == ((144, 144, 128), (144, 80, 256))
    assert abdomen.learning_rate == kidney.learning_rate == 1e-5
    assert abdomen.batch == 1 and abdomen.schedule == "constant"
    losses = [settings.loss() for settings in (abdomen, kidney)]
    assert [(loss.alpha, loss.beta, loss.gamma) for loss in losses] == [(0.5, 0.5, 1.0), (0.4, 0.3, 0.8)]
    assert all(loss.descriptor == "mind" for loss in losses)
    assert with_preset("x", "cpu", batch=1).batch == 1
    assert all(with_preset("x", name).loss() for name in PRESETS)


@pytest.mark.parametrize("change, words", [
    ({"method": "unet"}, "gated, average, vm, vm-concat"),
    ({"steps": 0}, "at least 1"),
    ({"shape": (144, 31, 128)}, "at least 32"),
    ({"shape": (144, 8, 128), "coarse_first": False}, "at least 16"),
    ({"zoom": (0.5, 1)}, "between 1 and 8"),
    ({"learning_rate": -1.0}, "between 0 and 1"),
    ({"device": "gpu7"}, "Unknown device 'gpu7'"),
    ({"device": "cuda:99"}, "cuda"),
    ({"weights": ["missing.pt"]}, "missing.pt"),
    ({"initialization": "magic"}, "none, rigid, affine"),
    ({"validation_shape": (24, 24, 8)}, "at least 16"),
    ({"alpha": float("nan")}, "alpha is nan"),
    ({"gamma": -1.0}, "gamma is -1.0"),
    ({"time_limit": -1.0}, "time_limit is -1.0"),
    ({"descriptor": "sift"}, "mind-ssc"),
    ({"seed": -1}, "from 0 to"),
    ({"data": "missing.csv"}, "missing.csv"),
    ({"resume": True}, "no checkpoint"),
    ({"precision": "bfloat16"}, "bfloat16 needs a GPU.*cpu"),
    ({"precision": "float16"}, "float16 needs a GPU.*cpu"),
])  # fmt: skip
def test_bad_settings_are_named_before_anything_is_written(small, tmp_path: Path, change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        train(small(**change))
    assert list(tmp_path.iterdir()) == []
