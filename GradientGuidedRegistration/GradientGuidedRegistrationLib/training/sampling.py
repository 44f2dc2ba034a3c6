"""The data of each step: a function of step, rank and settings, so that a resumed run sees what it would have seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from .augmentation import augmented
from .case import Case, join
from .own_files import FileSource
from .phantom.draws import Draws, training_seed
from .phantoms import PhantomSource
from .settings import TrainingSettings

_BLOCK = 1 << 16  # pairs whose numbers are kept at a time


class OwnNumbers:
    """What number each pair of a run has among the own ones, -1 for phantoms.

    Phantoms between them take no number, so that an epoch has each own pair once. The draws are one stream, of which a
    block is kept: numbers are cheap to ask for in rising order.
    """

    def __init__(self, seed: int, phantom_fraction: float):
        self._seed, self._fraction = training_seed("mixture", seed, 0), phantom_fraction
        self._restart()

    def __getitem__(self, number: int) -> int:
        block, place = divmod(number, _BLOCK)
        if block < self._block:
            self._restart()
        while self._block < block:
            self._next_block()
        return int(self._numbers[place])

    def _restart(self) -> None:
        self._draws = torch.Generator().manual_seed(self._seed)
        self._block, self._before = -1, 0

    def _next_block(self) -> None:
        own = torch.rand(_BLOCK, generator=self._draws) >= self._fraction
        self._numbers = torch.where(own, self._before + own.cumsum(0) - 1, -1)
        self._before += int(own.sum())
        self._block += 1


class Steps(Dataset):
    """`steps[n]` is the batch of step n for one process of a training."""

    def __init__(
        self, settings: TrainingSettings, phantoms: PhantomSource, files: FileSource | None, rank: int, world: int
    ):
        self.settings, self.phantoms, self.files, self.rank, self.world = settings, phantoms, files, rank, world
        self._own_numbers = OwnNumbers(settings.seed, settings.phantom_fraction)
        self._last: dict[int, tuple[int, Case]] = {}  # by place in the batch

    def __len__(self) -> int:
        return self.settings.steps

    def __getitem__(self, step: int) -> Case:
        if not 0 <= step < len(self):
            raise IndexError(step)
        return join(
            [
                self._pair(step, (step * self.settings.batch + i) * self.world + self.rank, i)
                for i in range(self.settings.batch)
            ]
        )

    def _pair(self, step: int, number: int, slot: int) -> Case:
        s = self.settings
        d = Draws(training_seed("pair", s.seed, number))
        own = -1 if self.files is None else self._own_numbers[number]
        if self.files is not None and own >= 0:
            case = self.files.training_case(own, d)
        else:
            case = self._phantom(((step // s.reuse) * s.batch + slot) * self.world + self.rank, slot)
        case = case.without_labels()
        return augmented(case, d, with_warp=own >= 0) if s.augment else case

    def _phantom(self, number: int, slot: int) -> Case:
        if slot not in self._last or self._last[slot][0] != number:
            self._last[slot] = (number, self.phantoms(number))
        return self._last[slot][1]


@contextmanager
def batches(steps: Steps, first: int, workers: int, device: torch.device) -> Iterator[Iterator[Case]]:
    """Give the batches from step `first` on, prepared ahead by `workers` processes, which end with the block."""
    loader = DataLoader(
        steps,
        batch_size=None,
        sampler=range(first, len(steps)),
        num_workers=workers,
        pin_memory=workers > 0 and device.type == "cuda",
        persistent_workers=False,
        prefetch_factor=4 if workers else None,
    )
    iterator: Any = iter(loader)
    try:
        yield iterator
    finally:
        if workers:  # an exception's traceback would keep the iterator, and with it the processes
            iterator._shutdown_workers()
