"""Is a folder one even stack of DICOM slices? ITK reads any as if it were, and squeezes or shears the patient."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .headers import check_name

_POSITION, _ORIENTATION = "0020|0032", "0020|0037"
_CLASS = re.compile(rb"\x02\x00\x02\x00UI..([0-9.]+)", re.DOTALL)  # media storage SOP class UID
_START = 1024  # bytes
_SAME_DIRECTION = 1e-3  # of direction cosines
_SAME_PLACE = 0.01  # of the usual distance of slices
_EVEN, _EVEN_MM = 0.2, 0.06  # of the same, and at least so much: positions are rounded in files
_SHOWN = 4
_REGULARISE = "load it in Slicer's module DICOM, which evens out the geometry, and save it as NRRD"


@dataclass(frozen=True)
class _Slice:
    name: str
    size: tuple[int, ...]
    spacing: tuple[float, ...]  # mm
    position: np.ndarray  # (3,) LPS mm, of the first voxel
    orientation: np.ndarray  # (2, 3) directions of a row and of a column
    pixel: int  # SimpleITK's type of the values, after the rescaling that this slice has


def read_series(folder: Path, role: str) -> sitk.Image:
    """Return the one series in a folder as a volume, LPS mm, after a look at each of its files.

    Raises:
        InputError: no series or several; a file that is cut off; one slice; a file of many slices, of whose places ITK
            says nothing; slices without a place, of several sizes or directions, twice in one place, at uneven
            distances, or shifted against each other as with a tilted gantry; a name that is no text. No message holds a
            patient's data.
        RuntimeError: ITK cannot read a file.
    """
    name = f"{role} folder {folder}"
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise InputError(f"The {name} holds no DICOM series; give an image file or a DICOM folder.")
    files = [list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)) for uid in series]
    for file in (file for found in files for file in found):
        check_name(Path(file), f"slice of the {role}")
    _check_all_read(folder, {Path(file).name for found in files for file in found}, name)
    if len(series) > 1:
        listed = ", ".join(f"{uid} ({len(found)} files)" for uid, found in zip(series, files))
        raise InputError(f"The {name} holds {len(series)} DICOM series: {listed}; leave one in it.")
    slices = [_slice(file, name) for file in files[0]]
    if len(slices) == 1:
        raise InputError(f"The {name} holds one slice only; copy the whole series.")
    _check_stack(slices, name)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files[0])
    kinds = {s.pixel for s in slices}
    if len(kinds) > 1 or sitk.sitkFloat64 in kinds:  # all get the type of the first: whole numbers, or twice the memory
        reader.SetOutputPixelType(sitk.sitkFloat32)
    return reader.Execute()


def _check_all_read(folder: Path, read: set[str], name: str) -> None:
    """Raise InputError for files of the kind of those in a series that are in none: GDCM passes over what is cut off.

    It passes over reports and presentation states as well, which may lie beside the slices.
    """
    others = [path for path in sorted(folder.iterdir()) if path.name not in read and path.is_file()]
    if not others:
        return
    kinds = {_kind(folder / file) for file in read} - {None}
    cut = [path.name for path in others if _kind(path) in kinds]
    if cut:
        raise InputError(
            f"The {name} has DICOM files that cannot be read ({_listed(cut)}): damaged or not completely copied; copy "
            "them again, or remove them."
        )


def _kind(path: Path) -> bytes | None:
    """The class of what a DICOM file holds, from the first of its bytes; None where they say nothing."""
    with open(path, "rb") as file:
        found = _CLASS.search(file.read(_START))
    return found[1] if found else None


def _slice(file: str, name: str) -> _Slice:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.SetImageIO("GDCMImageIO")
    reader.ReadImageInformation()
    if len(reader.GetSize()) > 2 and reader.GetSize()[2] > 1:
        raise InputError(
            f"The {name} holds a file of many slices ({Path(file).name}), whose places are not known; {_REGULARISE}."
        )
    numbers = []
    for key, count in ((_POSITION, 3), (_ORIENTATION, 6)):
        text = reader.GetMetaData(key) if reader.HasMetaDataKey(key) else ""
        try:
            values = np.array([float(word) for word in text.split("\\")])
        except ValueError:
            values = np.empty(0)
        if values.shape != (count,) or not np.isfinite(values).all():
            what = "position" if key == _POSITION else "orientation"
            raise InputError(
                f"The {name} has a slice without a {what} ({Path(file).name}); remove what is no slice from it."
            )
        numbers.append(values)
    size, spacing, pixel = reader.GetSize(), reader.GetSpacing()[:2], reader.GetPixelID()
    return _Slice(Path(file).name, size, spacing, numbers[0], numbers[1].reshape(2, 3), pixel)


def _check_stack(slices: list[_Slice], name: str) -> None:
    """Raise `InputError` unless the slices are one even stack."""
    first = slices[0]
    _check_same((" x ".join(map(str, s.size[:2])) for s in slices), slices, f"The {name} has slices of several sizes")
    _check_same(
        (" x ".join(f"{mm:.4g}" for mm in s.spacing) + " mm" for s in slices),
        slices,
        f"The {name} has slices of several voxel sizes",
    )
    turned = [s.name for s in slices if np.abs(s.orientation - first.orientation).max() > _SAME_DIRECTION]
    if turned:
        raise InputError(
            f"The {name} has slices of several directions: {len(turned)} of {len(slices)} lie otherwise than "
            f"{first.name} ({_listed(turned)}); leave those of one direction in it."
        )
    normal = np.cross(*first.orientation)
    if abs(np.linalg.norm(normal) - 1) > 0.01:
        raise InputError(f"The {name} has slices whose rows and columns are not perpendicular; give another series.")
    order = sorted(slices, key=lambda s: float(s.position @ normal))
    places = np.array([s.position for s in order])
    along = places @ normal
    gaps = np.diff(along)
    usual = float(np.median(gaps[gaps > _SAME_PLACE * gaps.max()])) if gaps.max() > 0 else 0.0
    _check_once(order, along, gaps <= _SAME_PLACE * usual, name)
    _check_even(order, along, gaps, usual, name)
    aside = places - places[0] - np.outer(along - along[0], normal)
    shift = float(np.linalg.norm(aside, axis=1).max())
    if shift > 0.5 * max(first.spacing):
        raise InputError(
            f"The {name} is a sheared stack: its slices are shifted sideways by up to {shift:.1f} mm, as with a tilted "
            f"gantry; {_REGULARISE}."
        )


def _check_same(values: Iterable[Hashable], slices: list[_Slice], what: str) -> None:
    kinds: dict[Hashable, list[str]] = {}
    for value, s in zip(values, slices):
        kinds.setdefault(value, []).append(s.name)
    if len(kinds) > 1:
        listed = "; ".join(f"{kind}: {len(found)} files, {_listed(found)}" for kind, found in kinds.items())
        raise InputError(f"{what} ({listed}); leave those of one size in it.")


def _check_once(order: list[_Slice], along: np.ndarray, same: np.ndarray, name: str) -> None:
    if same.any():
        pairs = [f"{order[i].name} and {order[i + 1].name} at {along[i]:.1f} mm" for i in np.flatnonzero(same)]
        raise InputError(
            f"The {name} has {len(pairs) + 1 if same.all() else len(pairs)} slices in the place of another "
            f"({_listed(pairs)}): doubled files, or several times or echoes; leave one slice a place in it."
        )


def _check_even(order: list[_Slice], along: np.ndarray, gaps: np.ndarray, usual: float, name: str) -> None:
    tolerance = max(_EVEN * usual, _EVEN_MM)
    if np.abs(along - np.linspace(along[0], along[-1], len(along))).max() <= tolerance:
        return
    odd = np.flatnonzero(np.abs(gaps - usual) > tolerance)
    found = [f"{gaps[i]:.2f} mm between {order[i].name} and {order[i + 1].name} at {along[i]:.1f} mm" for i in odd]
    missing = sum(round(gaps[i] / usual) - 1 for i in odd if abs(gaps[i] / usual - round(gaps[i] / usual)) <= _EVEN)
    lost = f"{missing} slices seem to be missing: copy the whole series again, or " if missing > 0 else ""
    listed = _listed(found) or f"{gaps.min():.2f} to {gaps.max():.2f} mm"
    raise InputError(
        f"The {name} has slices at uneven distances: {usual:.2f} mm as a rule, but {listed}; {lost}{_REGULARISE}."
    )


def _listed(texts: list[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
