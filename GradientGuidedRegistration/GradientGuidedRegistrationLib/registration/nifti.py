"""Is a NIfTI file whole and sound? ITK repairs what is wrong without a word.

It fills what is cut off, NaN and infinite voxels with zeros, takes 1 mm for a voxel size of zero, 1 voxel for none, and
straightens a sheared matrix by the other one of the header.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from ..errors import InputError

_HEADER = 540  # bytes of a NIfTI-2 header; a NIfTI-1 header is shorter
_CHUNK = 1 << 22
_LARGEST = 1e9  # of voxel sizes and positions; ITK does not come back from decomposing a matrix with infinity
_FLOATS = {16: "f4", 64: "f8"}  # by the code of the data type
_PERPENDICULAR = 1e-3  # cosine of the angle between two axes
_SAME_SIZE = 0.01  # of voxels, in the two places where a header has it
_SCANNER = 1  # code of a matrix that leads to the scanner's coordinates


def check_whole(path: Path, role: str = "image") -> None:
    """Raise InputError when a .nii or .nii.gz file is no NIfTI file, is damaged, or ends before its last voxel."""
    _read_through(path, role, finite=False)


def check_sound(path: Path, role: str = "image") -> None:
    """Raise InputError as `check_whole`, and for voxels that are NaN or infinite or have no size, and sheared axes."""
    _read_through(path, role, finite=True)


def _read_through(path: Path, role: str, finite: bool) -> None:
    cut = f"The {role} {path} cannot be read: it is damaged or not completely copied; copy it again."
    bad = 0
    try:
        with gzip.open(path, "rb") if is_gzip(path) else open(path, "rb") as file:
            header = file.read(_HEADER)
            layout = _layout(header)
            if layout is None:
                raise InputError(f"The {role} {path} cannot be read as an image: it is no NIfTI file.")
            length, expected, kind = layout
            _check_geometry(header, f"The {role} {path}", strict=finite)
            file.seek(length)
            while chunk := file.read(_CHUNK):
                if finite and kind is not None:
                    inside = min(len(chunk), max(0, expected - length)) // kind.itemsize
                    bad += inside - int(np.isfinite(np.frombuffer(chunk, kind, inside)).sum())
                length += len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(cut) from None
    except OSError as error:
        raise InputError(f"The {role} {path} cannot be read: {error.strerror or error}.") from None
    if length < expected:
        raise InputError(cut)
    if bad:
        raise InputError(f"The {role} {path} has {bad} voxels that are NaN or infinite; replace them by background.")


def is_gzip(path: Path) -> bool:
    """Say whether a file is compressed, whatever its name says."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def is_nifti_2(path: Path) -> bool:
    """Say whether a file, compressed or not, begins as NIfTI-2 does; not every ITK reads that."""
    try:
        with gzip.open(path, "rb") if is_gzip(path) else open(path, "rb") as file:
            return file.read(8)[4:7] == b"n+2"
    except (OSError, EOFError, zlib.error):
        return False


def _layout(header: bytes) -> tuple[int, int, np.dtype | None] | None:
    """Return where the voxels begin and end and their type if it is one of floats; None for no single-file header."""
    if len(header) < 348:
        return None
    for order in "<>":
        size = struct.unpack_from(order + "i", header)[0]
        if size == 348 and header[344:347] == b"n+1":
            dims = struct.unpack_from(order + "8h", header, 40)
            kind, bits = struct.unpack_from(order + "2h", header, 70)
            offset = struct.unpack_from(order + "f", header, 108)[0]
        elif size == 540 and len(header) == 540 and header[4:7] == b"n+2":
            kind, bits = struct.unpack_from(order + "2h", header, 12)
            dims = struct.unpack_from(order + "8q", header, 16)
            offset = struct.unpack_from(order + "q", header, 168)[0]
        else:
            continue
        if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 0 or not 0 <= offset < _LARGEST:
            return None
        begin = max(int(offset), size)  # some writers leave the offset at zero, and mean behind the header
        end = begin + math.prod(dims[1 : dims[0] + 1]) * bits // 8
        return begin, end, np.dtype(order + _FLOATS[kind]) if kind in _FLOATS else None
    return None


def _check_geometry(header: bytes, what: str, strict: bool) -> None:
    """Raise InputError for voxel sizes, positions or orientations that cannot be, by those that are in force."""
    order = "<" if header[0] else ">"  # the first number is 348 or 540
    if header[344:347] == b"n+1":
        codes, quaternion, affine, sizes, kind = struct.unpack_from(order + "2h", header, 252), 256, 280, 76, "f"
        dims = struct.unpack_from(order + "8h", header, 40)
    else:
        codes, quaternion, affine, sizes, kind = struct.unpack_from(order + "2i", header, 344), 352, 400, 104, "d"
        dims = struct.unpack_from(order + "8q", header, 16)
    q_code, s_code = codes
    values = struct.unpack_from(f"{order}6{kind}", header, quaternion) if q_code > 0 else ()
    matrix = struct.unpack_from(f"{order}12{kind}", header, affine) if s_code > 0 else ()
    if not all(abs(value) < _LARGEST for value in (*values, *matrix)):  # not for NaN either
        raise InputError(f"{what} cannot be read: the voxel size or position in it is damaged.")
    if not strict:
        return
    axes = min(dims[0], 3)
    if 0 in dims[1 : axes + 1]:
        raise InputError(f"{what} holds no voxels; its header is damaged.")
    size = np.array(struct.unpack_from(f"{order}8{kind}", header, sizes)[1 : axes + 1])
    if not np.all((size > 0) & (size < _LARGEST)):
        raise InputError(
            f"{what} has voxels of {' x '.join(f'{mm:g}' for mm in size)} mm; its header is damaged, write it again."
        )
    if axes == 3 and s_code > 0 and (q_code <= 0 or s_code in (_SCANNER, q_code)):
        _check_matrix(np.array(matrix).reshape(3, 4)[:, :3], size, what)


def _check_matrix(axes: np.ndarray, size: np.ndarray, what: str) -> None:
    """Raise InputError when axes (3, 3), a column each, are sheared or not as long as the voxels, in mm."""
    lengths = np.linalg.norm(axes, axis=0)
    cosines = (axes.T @ axes) / np.outer(lengths, lengths).clip(min=1e-12) - np.diag(lengths > 0)
    if np.abs(cosines).max() > _PERPENDICULAR:
        raise InputError(
            f"{what} is sheared: its axes are not perpendicular (sform), as after a tilted gantry or an affine "
            "registration; resample it onto a straight grid."
        )
    if np.any(np.abs(lengths - size) > _SAME_SIZE * size):
        voxels, columns = (" x ".join(f"{mm:.4g}" for mm in values) for values in (size, lengths))
        raise InputError(
            f"{what} contradicts itself: voxels of {voxels} mm in one place of its header, of {columns} mm in another "
            "(sform); write it again from its source."
        )
