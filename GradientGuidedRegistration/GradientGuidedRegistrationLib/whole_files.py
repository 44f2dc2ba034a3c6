"""Files that are whole or not there: written under another name, brought to the disk, moved into place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".writing-"


@contextmanager
def replacing(path: str | Path, suffix: str | None = None) -> Iterator[Path]:
    """Give a temporary file beside ``path`` to write to; it takes the place of ``path`` when the block ends well.

    Folders are made as needed. Until the end an older file of that name stays as it was, and after an error nothing
    but that is left. The file has the permissions that the user's new files have.

    Args:
        suffix: ending of the temporary name, for writers that choose a format by it; that of ``path`` by default.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix if suffix is None else suffix
    descriptor, name = tempfile.mkstemp(prefix=PREFIX, suffix=suffix, dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        _to_disk(temporary)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file whole or not at all; returns its path."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 text whole or not at all, line ends as they are; returns its path."""
    return write_bytes(path, text.encode("utf-8"))


def _to_disk(path: Path) -> None:
    """Wait until the content is on the disk, so that a power cut cannot leave an empty file under the final name."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
