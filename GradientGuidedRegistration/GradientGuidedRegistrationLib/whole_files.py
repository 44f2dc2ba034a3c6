"""Files that are whole or not there: written under another name, brought to the disk, moved into place."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".writing-"
_LONGEST_SUFFIX = 32  # so that a legal name does not become too long a temporary one
_LONGEST_IN_PART = 240  # bytes


@contextmanager
def replacing(path: str | Path, suffix: str | None = None) -> Iterator[Path]:
    """Give a temporary file beside ``path`` to write to; it takes the place of ``path`` when the block ends well.

    Folders are made as needed. Until the end an older file of that name stays as it was, and after an error nothing
    but that is left. The file has the permissions that the user's new files have. A link stays one: what it leads to is
    written.

    Args:
        suffix: ending of the temporary name, for writers that choose a format by it; that of ``path`` by default.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    path = followed(Path(path))
    suffix = (path.suffix if suffix is None else suffix)[-_LONGEST_SUFFIX:]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=PREFIX, suffix=suffix, dir=path.parent)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror}; choose another folder.") from None
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        _to_disk(temporary)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(
            f"{path} cannot be written: {error.strerror or error}; make room or choose another folder."
        ) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(folder: str | Path) -> Iterator[Path]:
    """Give a folder beside ``folder`` to fill; it takes the place of ``folder`` when the block ends well.

    What a process that was killed has left of an earlier attempt is removed first. After an error nothing is left. A
    link stays one.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = followed(Path(folder))
    part = folder.with_name(os.fsdecode(os.fsencode(folder.name)[:_LONGEST_IN_PART]) + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def reserve(path: Path, size: int) -> None:
    """Make sure, where the system can tell, that ``size`` bytes can be written to the file, and leave it empty.

    For writers that do not cope with a full disk. Raises `OSError` when there is no room.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with open(path, "r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                raise
        file.truncate(0)


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file whole or not at all; returns its path."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 text whole or not at all, line ends as they are; returns its path."""
    return write_bytes(path, text.encode("utf-8"))


def followed(path: Path) -> Path:
    """Return what a link leads to; another path as it is."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


def _to_disk(path: Path) -> None:
    """Wait until the content is on the disk, so that a power cut cannot leave an empty file under the final name."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0o077)  # it can only be set: what another thread makes meanwhile is private, not open to all
    os.umask(mask)
    return mask
