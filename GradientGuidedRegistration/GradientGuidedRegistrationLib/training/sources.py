"""Where the pairs of a training come from: to learn from, to be judged by, and to centre a network with."""

from __future__ import annotations

import torch

from .case import Case
from .case_table import training_cases
from .distributed import Processes
from .own_files import FileSource
from .phantoms import PhantomSource, validation_phantom
from .settings import TrainingSettings
from .split import tell_split

_STILL_PAIRS, _LARGEST_STILL = 4, 64  # phantoms to centre a network with, and their size: what it needs is a mean


def phantom_source(settings: TrainingSettings, shape: tuple[int, int, int], device: torch.device) -> PhantomSource:
    """The phantoms of a run, of any shape (D, H, W)."""
    return PhantomSource(shape, settings.zoom, settings.shapes_fraction, settings.seed, device)


def still_images(settings: TrainingSettings, device: torch.device) -> list[torch.Tensor]:
    """Some images (1, 1, D, H, W) to `centring.centre` a network with."""
    d, h, w = (min(n, _LARGEST_STILL) for n in settings.shape)
    cases = map(phantom_source(settings, (d, h, w), device), range(_STILL_PAIRS))
    return [image for case in cases for image in (case.fixed, case.moving)]


def file_source(settings: TrainingSettings, processes: Processes) -> FileSource | None:
    """The own pairs of a run, if it has any: one process prepares the arrays, the others wait and find them."""
    s = settings
    if s.data is None:
        return None
    if not processes.leads:
        processes.wait()
    else:
        tell_split(s.data, training_cases(s.data))
    files = FileSource(s.data, s.shape, s.spacing, s.crop, s.output / "cache", s.initialization, s.seed)
    if processes.leads:
        processes.wait()
    return files


def validation_cases(settings: TrainingSettings, files: FileSource | None, device: torch.device) -> list[Case]:
    """What a run is judged by: own pairs where there are any, else phantoms, made on `device` and kept on the CPU."""
    if files is not None:
        return [files.validation_case(i) for i in range(len(files.validation))]
    return [
        validation_phantom(i, settings.validation_shape or settings.shape, 1.0, device).to(torch.device("cpu"))
        for i in range(settings.validation_cases)
    ]
