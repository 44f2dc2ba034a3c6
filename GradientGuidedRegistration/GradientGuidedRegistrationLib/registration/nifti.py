"""Is a NIfTI file whole? ITK reads a truncated one without a word and fills the rest with zeros."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

from ..errors import InputError

_HEADER = 540  # bytes of a NIfTI-2 header; a NIfTI-1 header is shorter
_CHUNK = 1 << 22
_LARGEST = 1e9  # of voxel sizes and positions; ITK does not come back from decomposing a matrix with infinity


def check_whole(path: Path, role: str = "image") -> None:
    """Raise InputError when a .nii or .nii.gz file is no NIfTI file, is damaged, or ends before its last voxel."""
    cut = f"The {role} {path} cannot be read: it is damaged or not completely copied; copy it again."
    try:
        with gzip.open(path, "rb") if _is_gzip(path) else open(path, "rb") as file:
            header = file.read(_HEADER)
            expected = _expected_length(header)
            if expected is None:
                raise InputError(f"The {role} {path} cannot be read as an image: it is no NIfTI file.")
            if not all(abs(value) < _LARGEST for value in _geometry(header)):  # not for NaN either
                raise InputError(f"The {role} {path} cannot be read: the voxel size or position in it is damaged.")
            length = len(header)
            while chunk := file.read(_CHUNK):
                length += len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(cut) from None
    except OSError as error:
        raise InputError(f"The {role} {path} cannot be read: {error.strerror or error}.") from None
    if length < expected:
        raise InputError(cut)


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _expected_length(header: bytes) -> int | None:
    """Return the bytes up to the last voxel as the header has them; None if it is no single-file NIfTI header."""
    if len(header) < 348:
        return None
    for order in "<>":
        size = struct.unpack_from(order + "i", header)[0]
        if size == 348 and header[344:347] == b"n+1":
            dims = struct.unpack_from(order + "8h", header, 40)
            bits = struct.unpack_from(order + "h", header, 72)[0]
            offset = struct.unpack_from(order + "f", header, 108)[0]
        elif size == 540 and len(header) == 540 and header[4:7] == b"n+2":
            bits, dims = struct.unpack_from(order + "h", header, 14)[0], struct.unpack_from(order + "8q", header, 16)
            offset = struct.unpack_from(order + "q", header, 168)[0]
        else:
            continue
        if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 0 or not math.isfinite(offset):
            return None
        return int(offset) + math.prod(dims[1 : dims[0] + 1]) * bits // 8
    return None


def _geometry(header: bytes) -> tuple[float, ...]:
    """Return the numbers of the orientations that are in force: quaternion and offset, affine matrix."""
    order = "<" if header[0] else ">"  # the first number is 348 or 540
    if header[344:347] == b"n+1":
        codes, quaternion, affine, kind = struct.unpack_from(order + "2h", header, 252), 256, 280, "f"
    else:
        codes, quaternion, affine, kind = struct.unpack_from(order + "2i", header, 344), 352, 400, "d"
    values: tuple[float, ...] = ()
    for code, place, count in ((codes[0], quaternion, 6), (codes[1], affine, 12)):
        if code > 0:
            values += struct.unpack_from(f"{order}{count}{kind}", header, place)
    return values
