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


class Steps(Dataset):
    """`steps[n]` is the batch of step n for one process of a training."""

    def __init__(
        self, settings: TrainingSettings, phantoms: PhantomSource, files: FileSource | None, rank: int, world: int
    ):
        self.settings, self.phantoms, self.files, self.rank, self.world = settings, phantoms, files, rank, world
        pairs = settings.steps * settings.batch * world
        draws = torch.Generator().manual_seed(training_seed("mixture", settings.seed, 0))
        from_files = torch.rand(pairs, generator=draws) >= settings.phantom_fraction
        if files is None:
            from_files[:] = False
        # What number a pair has among the own ones: phantoms between them take none, and an epoch has each pair once.
        self._own_number = torch.where(from_files, from_files.cumsum(0) - 1, -1)
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
        own = int(self._own_number[number])
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
