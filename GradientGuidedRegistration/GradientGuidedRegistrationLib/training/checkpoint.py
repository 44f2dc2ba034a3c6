"""Checkpoints that are whole or not there, and the lock that keeps two runs out of one folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..whole_files import PREFIX, replacing, write_text
from .settings import TrainingSettings

NAME = "checkpoint.pt"
_VERSION = 4


def save(folder: Path, content: dict[str, Any]) -> None:
    """Write the checkpoint of a run: to a temporary file, to the disk, then into place. The old one stays until then.

    Raises:
        InputError: it could not be written, for example because the disk is full; the previous checkpoint is intact.
    """
    path = folder / NAME
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            torch.save({"version": _VERSION, **content}, file)
    except (OSError, RuntimeError) as error:
        kept = "the previous checkpoint is intact" if path.exists() else "there is no earlier one"
        raise InputError(
            f"The checkpoint {path} could not be written ({error}); {kept}. Free space and use --resume."
        ) from error


def load(folder: Path, settings: TrainingSettings, world: int) -> dict[str, Any]:
    """Read the checkpoint of the run in `folder` and make sure that these settings continue it.

    Raises:
        InputError: there is none, it cannot be read, or settings differ (all are named).
    """
    path = folder / NAME
    _check_there(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"The checkpoint {path} cannot be read ({error}); start a new run in another folder."
        ) from error
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        raise InputError(f"{path} is not a checkpoint of this program's version.")
    different = settings.differences(content["settings"])
    for weights, digest in zip(settings.weights, content["start"]):
        if weights.is_file() and digests([weights]) != [digest]:
            different.append(f"{weights} is not the weights file that it started from")
    if content["world"] != world:
        different.append(f"the number of processes was {content['world']}, is {world}")
    if different:
        raise InputError(f"The run in {folder} cannot be resumed with other settings: {'; '.join(different)}.")
    return content


def digests(files: Iterable[Path]) -> list[str]:
    """SHA-256 of each file, to tell whether it is the same wherever it lies."""
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def check_pairs(folder: Path, earlier: dict[str, Any], pairs: dict[str, Any]) -> None:
    """Raise `InputError` where a run had other pairs (`FileSource.fingerprints`) than it would go on with."""
    different = [f"{name} is not there any more" for name in earlier if name not in pairs]
    different += [f"{name} is new" for name in pairs if name not in earlier]
    for name, (split, *sums) in pairs.items():
        if name in earlier and split != earlier[name][0]:
            different.append(f"{name} was for {earlier[name][0]}, is for {split}")
        elif name in earlier and sums != earlier[name][1:]:
            different.append(f"{name} was changed")
    if different:
        more = [f"and {len(different) - 10} more"] if len(different) > 10 else []
        raise InputError(
            f"The run in {folder} cannot be resumed with other pairs: {'; '.join(different[:10] + more)}. Bring them "
            f"back, or start a new run with --weights from last.pt of this one."
        )


def write_settings(folder: Path, settings: TrainingSettings) -> None:
    """Keep the settings of a new run with it, for people to read."""
    write_text(folder / "settings.json", json.dumps(settings.as_dict(), indent=2) + "\n")


class RunFolder:
    """The folder of a run, locked while the run lasts; the operating system frees the lock of a killed process.

    Processes that it forked, such as workers, may outlive it: they let go of the lock at their start.

    Raises:
        InputError: the folder cannot be written, another run is writing into it, it holds a run that is not to be
            continued, or none that could be.
    """

    def __init__(self, settings: TrainingSettings):
        self.path = settings.output
        if settings.resume:
            _check_there(self.path / NAME)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / ".lock", "a+b")
        except OSError as error:
            raise InputError(f"The output folder {self.path} cannot be written: {error.strerror}.") from None
        if not _take(self._lock):
            self._lock.close()
            raise InputError(f"Another run is writing into {self.path}; choose another output folder.")
        if hasattr(os, "register_at_fork"):  # cannot be taken back; of a run that is over, this does nothing
            os.register_at_fork(after_in_child=self._lock.close)
        unfinished = (*self.path.glob(f"{PREFIX}*"), *self.path.glob(f"cache/{PREFIX}*"))
        for path in unfinished:  # of a process that was killed
            path.unlink(missing_ok=True)
        if not settings.resume and (self.path / NAME).exists():
            self.close()
            raise InputError(f"{self.path} holds a run already; use --resume to continue it, or another output folder.")

    def close(self) -> None:
        """Free the folder."""
        self._lock.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"There is no checkpoint {path} to resume; leave out --resume to start a new run.")


def _take(file: Any) -> bool:
    """Lock an open file for this process; False if another one holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
