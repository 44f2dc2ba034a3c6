"""The training loop: data, network, objective, optimiser, validation, checkpoints."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import Cancelled, Incomplete, InputError
from ..interruption import uninterrupted
from ..model import RegistrationNetwork, build_network, register_in_passes, save_weights, warp
from . import checkpoint, distributed
from .case import Case
from .centring import centre
from .log import Board, ProgressBar, Table, draw_curves
from .passes import seen_in_step
from .sampling import Steps, batches
from .schedule import learning_rate
from .settings import TrainingSettings
from .sources import file_source, phantom_source, still_images, validation_cases
from .split import write_pairs
from .start import check_inputs, start_network
from .validation import goodness, mean_scores, score

_LOOK_EVERY = 20  # steps between looks at the losses on a GPU, where each look waits for the device
_START_AGAIN = "start a new run with a lower --learning-rate and --weights from best.pt or last.pt of this one"
_PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class TrainingResult:
    """What a training ends with.

    Attributes:
        weights: file of the best weights by validation, or None if there was no validation.
        steps: steps done, those before a resumption included.
        best: figures of the best validation.
        seconds: time of this call; `waiting` is the share of it spent waiting for data.
        finished: False if the time limit ended it early.
    """

    weights: Path | None
    steps: int
    best: dict[str, float | None]
    seconds: float
    waiting: float
    finished: bool


def train(
    settings: TrainingSettings, progress: Callable[[str, float], None] | None = None, bar: bool = False
) -> TrainingResult:
    """Train a network, or continue to.

    Args:
        settings: what to do; writes into `settings.output`: settings.json, checkpoint.pt, best.pt, last.pt (weights
            files), losses.csv, validation.csv, curves.svg, with own pairs pairs.csv (their splits) and, where
            TensorBoard is installed, tensorboard/.
        progress: called with ("training", fraction) after each step; may raise `Cancelled`, which leaves a
            checkpoint of the last whole step, as a `KeyboardInterrupt` does.
        bar: show a progress bar on the terminal.

    Raises:
        InputError: bad data, a folder in use, settings or data that do not continue the run, a full disk, or a loss
            that is not finite (with its step and case; the last checkpoint is kept).
        Incomplete: another process of the training has ended.
    """
    start = time.monotonic()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    processes = distributed.start(settings.device)
    folder = None
    try:
        check_inputs(settings, processes.device)
        if processes.leads:
            folder = checkpoint.RunFolder(settings)
        processes.wait()
        return Trainer(settings, processes, bar and processes.leads, start).run(progress)
    except RuntimeError as error:
        if processes.leads or not distributed.is_left_alone(error):
            raise
        raise Incomplete(
            f"Process {processes.rank} stopped since another one of this training has ended; see what that one says."
        ) from error
    finally:
        if folder is not None:
            folder.close()
        processes.close()


class Trainer:
    """One training in one process."""

    def __init__(self, settings: TrainingSettings, processes: distributed.Processes, bar: bool, start: float):
        """`start`: what `time.monotonic` said when the training began; its time limit counts from there."""
        self.settings, self.processes, self.bar, self.start = settings, processes, bar, start
        self.folder, self.device = settings.output, processes.device
        stored = checkpoint.load(self.folder, settings, processes.world) if settings.resume else None
        torch.manual_seed(settings.seed)
        network = start_network(settings) if stored is None else build_network(settings.method, **stored["options"])
        self.network: RegistrationNetwork = network.to(self.device)
        self.network.coarse_passes = (2,) if settings.coarse_first else ()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self.objective = settings.loss()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "float16")
        self.step, self.validated, self.seconds = 0, -1, 0.0
        self.best: dict[str, Any] = {}
        self.latest: dict[str, Any] = {}
        self.started_from = checkpoint.digests(settings.weights) if stored is None else stored["start"]
        if stored is not None:
            self._restore(stored)
        elif processes.leads:
            checkpoint.write_settings(self.folder, settings)
        self.parallel = processes.parallel(self.network)
        self.files = file_source(settings, processes)
        self.pairs = self.files.fingerprints() if self.files is not None else {}
        if stored is not None:
            checkpoint.check_pairs(self.folder, stored["pairs"], self.pairs)
            self.pairs = stored["pairs"]
            if self.files is not None:
                self.files.put_in_order(self.pairs)
        if self.files is not None and processes.leads:
            write_pairs(self.files.cases, self.folder / "pairs.csv")
        self.validation = validation_cases(settings, self.files, self.device) if processes.leads else []
        if processes.leads:  # the others never touch these
            self.still = still_images(settings, self.device)
            self.losses = Table(self.folder / "losses.csv", self.step)
            self.scores = Table(self.folder / "validation.csv", self.step)
        self.board = Board(self.folder / "tensorboard", processes.leads, self.step)
        self.pending: list[tuple[int, tuple[str, ...], torch.Tensor, float]] = []
        self.centred: tuple[int, RegistrationNetwork] | None = None

    def run(self, progress: Callable[[str, float], None] | None) -> TrainingResult:
        """Train up to the last step."""
        s, start = self.settings, time.monotonic()
        steps = self._steps(self.processes.rank)
        bar = ProgressBar(s.steps, self.step, self.bar)
        try:
            with batches(steps, self.step, s.workers, self.device) as cases:
                try:
                    waited = self._train(cases, bar, progress)
                except RuntimeError:
                    if self.processes.world > 1:
                        time.sleep(1.0)  # another process was interrupted first: this one is about to hear of it
                    raise
        except (Cancelled, KeyboardInterrupt):
            if self.processes.leads:  # other processes may be gone, and are not waited for
                self._look(bar)
                self._write()
            raise
        finally:
            bar.close()
            self.board.close()
        weights = self.folder / "best.pt"
        seconds = time.monotonic() - start
        return TrainingResult(
            weights if self.best and weights.is_file() else None,
            self.step,
            self.best,
            seconds,
            waited / max(seconds, 1e-9),
            self.step >= s.steps,
        )

    def _steps(self, rank: int) -> Steps:
        """The data of one of the processes."""
        s = self.settings
        phantoms = phantom_source(s, s.shape, torch.device("cpu") if s.workers else self.device)
        return Steps(s, phantoms, self.files, rank, self.processes.world)

    def _train(self, cases: Iterator[Case], bar: ProgressBar, progress: Callable[[str, float], None] | None) -> float:
        """Train up to the last step or the time limit; returns the seconds spent waiting for data."""
        s, start, earlier, waited = self.settings, time.monotonic(), self.seconds, 0.0
        if self.step and self.processes.leads:
            self._catch_up()
        if self.step == 0:
            self._validate()
        elif self.validated < self.step and self._is_due(s.validate_every):  # interrupted in between
            self._validate()
            self._save(bar)
        stop = False
        while self.step < s.steps and not stop:
            before = time.monotonic()
            case = next(cases).to(self.device)
            waited += time.monotonic() - before
            self._train_step(case)
            self.seconds = earlier + time.monotonic() - start
            if (
                self.device.type == "cpu"
                or len(self.pending) >= _LOOK_EVERY
                or self._is_due(s.checkpoint_every, s.validate_every)
            ):
                self._look(bar)
            if self._is_due(s.validate_every):
                self._validate()
            if s.time_limit:
                stop = self.processes.agree(time.monotonic() - self.start > 60 * s.time_limit)
            if self._is_due(s.checkpoint_every) or stop:
                self._save(bar)
            if progress is not None:
                progress("training", self.step / s.steps)
        return waited

    def _is_due(self, *intervals: int) -> bool:
        return self.step == self.settings.steps or any(self.step % interval == 0 for interval in intervals)

    def _train_step(self, case: Case) -> None:
        s = self.settings
        rate = learning_rate(self.step, s.steps, s.learning_rate, s.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        kind = _PRECISIONS[s.precision]
        if s.coarse_first:
            # In a block of its own: weights that are cast where no gradient is wanted are kept to the end of the block,
            # and PyTorch before 2.11 would take them for the step itself.
            with torch.autocast(self.device.type, dtype=kind, enabled=kind is not None):
                case = seen_in_step(case, self.network, self.step, s.seed)
        with torch.autocast(self.device.type, dtype=kind, enabled=kind is not None):
            prediction = self.parallel(case.moving, case.fixed)
        loss = self.objective(
            prediction, case.moving_full, case.fixed, fixed_mask=case.fixed_mask, moving_mask=case.moving_mask
        )
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss.total).backward()
        values = torch.stack([loss.total.detach(), *(value.detach() for value in loss.terms.values())])
        values = self.processes.mean(torch.cat([values, self._broken(values)]))
        with uninterrupted():
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.step += 1
            self.pending.append((self.step, ("total", *loss.terms), values, rate))

    def _broken(self, values: torch.Tensor) -> torch.Tensor:
        """For each process a 1 if its own losses are not all finite: this one's entry, which the mean brings to all."""
        broken = torch.zeros(self.processes.world, device=values.device)
        broken[self.processes.rank] = 1 - values.isfinite().all().to(broken.dtype)
        return broken

    def _look(self, bar: ProgressBar) -> None:
        """Read the losses of the last steps, stop if one is not finite, write them down."""
        rows: list[dict[str, Any]] = []
        for step, names, values, rate in self.pending:
            shared = values.tolist()  # the same in all processes
            numbers, broken = dict(zip(names, shared)), shared[len(names) :]
            if not all(map(math.isfinite, numbers.values())):
                ranks = [rank for rank, share in enumerate(broken) if share] or range(self.processes.world)
                cases = [name for rank in ranks for name in self._steps(rank)[step - 1].names]
                kept = self.folder / checkpoint.NAME
                good = f"the last good checkpoint is {kept}" if kept.exists() else "there is no checkpoint yet"
                raise InputError(
                    f"The loss is not finite at step {step} (case {', '.join(cases)}): {numbers}. Training stopped; "
                    f"{good}. Look at that case, or {_START_AGAIN}."
                )
            rows.append({"step": step, **numbers, "learning_rate": rate})
        if not rows or not self.processes.leads:
            self.pending.clear()
            return
        with uninterrupted():
            self.pending.clear()
            self.losses.add(rows)
        self.board.scalars(rows[-1], rows[-1]["step"], "loss")
        best = f", Dice {100 * self.best['dice']:.1f} %" if self.best.get("dice") else ""
        bar.show(self.step, f"loss {rows[-1]['total']:.4f}{best}")

    @torch.no_grad()
    def _validate(self) -> None:
        """Score the network; the leading process only, the others wait."""
        if self.validation:
            network = self._centred()
            rows, losses = [], []
            for case in self.validation:
                case = case.to(self.device)
                prediction = register_in_passes(network, case.moving, case.fixed)
                losses.append(
                    float(
                        self.objective(
                            prediction,
                            case.moving_full,
                            case.fixed,
                            fixed_mask=case.fixed_mask,
                            moving_mask=case.moving_mask,
                        ).total
                    )
                )
                rows.append(score(prediction.displacement, case))
            figures = {"loss": sum(losses) / len(losses), **mean_scores(rows)}
            with uninterrupted():
                self.scores.add([{"step": self.step, "minutes": self.seconds / 60, **figures}])
                self.latest = {"step": self.step, **figures}
                if not self.best or goodness(figures) > goodness(self.best):
                    self.best = self.latest
                    self._save_weights(network, "best.pt", self.best)
                self.validated = self.step
            self.board.scalars(figures, self.step, "validation")
            self.board.panel(case.fixed, case.moving, warp(case.moving, prediction.displacement), self.step)
        if self.processes.leads:
            draw_curves(self.losses, self.scores, self.folder / "curves.svg")
        self.validated = self.step
        self.processes.wait()

    def _save(self, bar: ProgressBar) -> None:
        self._look(bar)
        if self.processes.leads:
            self._write()
        self.processes.wait()

    def _write(self) -> None:
        """Write the last whole step down, as a checkpoint and as weights, unless it broke the network."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.network.parameters()):
            raise InputError(
                f"The network is not finite any more after step {self.step}; what was written before is kept. To go "
                f"on, {_START_AGAIN}."
            )
        checkpoint.save(
            self.folder,
            {
                "settings": self.settings.as_dict(),
                "world": self.processes.world,
                "step": self.step,
                "validated": self.validated,
                "best": self.best,
                "latest": self.latest,
                "start": self.started_from,
                "seconds": self.seconds,
                "pairs": self.pairs,
                "options": self.network.options,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
            },
        )
        self._write_last()

    def _write_last(self) -> None:
        figures = self.latest if self.latest.get("step") == self.step else {}
        self._save_weights(self._centred(), "last.pt", figures)

    def _catch_up(self) -> None:
        """Write the weights of the checkpoint that is resumed: a process that was killed may not have got to them."""
        if self.best.get("step") == self.step:
            self._save_weights(self._centred(), "best.pt", self.best)
        self._write_last()

    def _centred(self) -> RegistrationNetwork:
        """A copy of the network as it is scored and written: without a constant offset. Made once a step."""
        if self.centred is None or self.centred[0] != self.step:
            network = copy.deepcopy(self.network).eval()
            centre(network, self.still)
            self.centred = self.step, network
        return self.centred[1]

    def _save_weights(self, network: RegistrationNetwork, name: str, figures: dict[str, Any]) -> None:
        data = "phantoms" if self.settings.data is None else "own files"
        metadata = {
            "steps": self.step,
            "data": data,
            "preset": self.settings.preset,
            "shape": list(self.settings.shape),
            "validation": {k: v for k, v in figures.items() if isinstance(v, (int, float))},
        }
        try:
            save_weights(network, self.folder / name, metadata)
        except (OSError, RuntimeError) as error:  # the latter from PyTorch, where the disk is full
            raise InputError(
                f"The weights {self.folder / name} could not be written ({error}); a checkpoint that is there is "
                "intact. Free space."
            ) from error

    def _restore(self, stored: dict) -> None:
        self.network.load_state_dict(stored["network"])
        self.optimizer.load_state_dict(stored["optimizer"])
        self.scaler.load_state_dict(stored["scaler"])
        self.step, self.best, self.seconds = stored["step"], stored["best"], stored["seconds"]
        self.validated, self.latest = stored["validated"], stored["latest"]
