"""Which files belong together: a CSV table or a folder of case folders. All mistakes are found and told at once."""

from __future__ import annotations

import os.path
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..csv_rows import read_rows
from ..errors import InputError, all_wrong

COLUMNS = ("fixed", "moving")
OPTIONAL_COLUMNS = ("fixed_labels", "moving_labels", "split", "name")
SPLITS = ("training", "validation", "test")
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")  # what `registration.files` reads
_NO_VOLUMES = (".json", ".txt", ".csv", ".png", ".jpg", ".pdf")  # of whatever name
_ROLES = {
    "fixed_labels": ("fixed_labels", "fixed_segmentation", "mr_labels"),
    "moving_labels": ("moving_labels", "moving_segmentation", "ct_labels"),
    "fixed": ("fixed", "fixed_mr", "mr"),
    "moving": ("moving", "moving_ct", "ct"),
}
_NAMES = tuple(name for names in _ROLES.values() for name in names)
_OF_PHANTOMS = ("truth",)  # what phantom.py writes beside a pair


@dataclass(frozen=True)
class CaseFiles:
    """The files of one pair. Segmentations are there for both images or for none; no two pairs have one name.

    `split_given` says whether the table or the folder names the split.
    """

    name: str
    fixed: Path
    moving: Path
    fixed_labels: Path | None = None
    moving_labels: Path | None = None
    split: str = "training"
    split_given: bool = False


def read_cases(data: Path) -> list[CaseFiles]:
    """Read a CSV file, or look through a folder.

    A CSV has the columns fixed, moving and, if wanted, fixed_labels, moving_labels, split (training, validation, test)
    and name; paths are relative to the CSV. A folder has a folder for each case with files named fixed.* and moving.*
    (or mr.*, ct.*, fixed_mr.*, moving_ct.*) and perhaps fixed_labels.* and moving_labels.*, of type .nii.gz, .nii,
    .nrrd, .nhdr, .mha or .mhd, or DICOM folders of these names; cases may be sorted into folders training, validation
    and test, then all of them. Images of other names, and files of these names in other types, are refused. Without a
    split, one case in five is for validation, but never all.

    Raises:
        InputError: all that is wrong, one line each; a pair that is listed twice, or two that have one name.
    """
    data = Path(data)
    if data.is_dir():
        cases, wrong = _from_folder(data)
    elif data.is_file():
        cases, wrong = _from_csv(data)
    else:
        raise InputError(f"The training data {data} does not exist; give a folder of cases or a CSV file.")
    if wrong:
        raise all_wrong(f"The training data {data} cannot be used:", (line[:1000] for line in wrong))
    if not cases:
        raise InputError(f"{data} holds no cases; each needs a fixed and a moving image (see train.py --help).")
    return cases


def training_cases(data: Path) -> list[CaseFiles]:
    """Read the pairs of a training.

    Raises:
        InputError: as `read_cases`, and when none is of the split "training".
    """
    cases = read_cases(data)
    if not any(case.split == "training" for case in cases):
        counts = Counter(case.split for case in cases)
        found = ", ".join(f"{count} for {split}" for split, count in counts.items())
        raise InputError(f"{data} has no pair for training ({found}); give at least one the split 'training'.")
    return cases


def _from_csv(path: Path) -> tuple[list[CaseFiles], list[str]]:
    columns, rows = read_rows(path, "training data")
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        found = ", ".join(column[:40] for column in columns[:40]) or "none"
        return [], [f"column {name} is missing (columns found: {found})" for name in missing]
    cases, wrong = [], []
    unknown = [column[:40] for column in columns if column not in COLUMNS + OPTIONAL_COLUMNS]
    if unknown:
        known = ", ".join(COLUMNS + OPTIONAL_COLUMNS)
        wrong.append(f"unknown column {', '.join(unknown[:40])}; known are {known}")
    lines: dict[object, int] = {}  # where a name and where a pair of files was first seen
    for number, row in rows:
        where, files = f"line {number}", {}
        values = {name: (row.get(name) or "").strip() for name in COLUMNS + OPTIONAL_COLUMNS}
        for role in _ROLES:
            if values[role]:
                files[role] = Path(os.path.abspath(path.parent / values[role]))
                if not os.path.exists(files[role]):
                    wrong.append(f"{where}: {role} {values[role]:.200} does not exist")
        wrong += _incomplete(where, files)
        if None in row:
            wrong.append(f"{where}: more cells than the header has columns")
        if "fixed" in files and files["fixed"] == files.get("moving"):
            wrong.append(f"{where}: fixed and moving are the same file")
        split = values["split"]
        if split and split not in SPLITS:
            wrong.append(f"{where}: split {split!r:.200} is not one of {', '.join(SPLITS)}")
        name, pair = values["name"] or where, (files.get("fixed"), files.get("moving"))
        if None not in pair and lines.setdefault(pair, number) != number:
            wrong.append(f"{where}: fixed and moving are those of line {lines[pair]}; list each pair once")
        elif lines.setdefault(name, number) != number:
            wrong.append(f"{where}: name {name!r:.200} is that of line {lines[name]}; give each pair a name of its own")
        cases.append((name, files, split, values["name"] or values["fixed"]))
    if wrong:
        return [], wrong
    keys = [key for *_, key in cases]
    return _with_splits(
        [CaseFiles(name, split=split, split_given=bool(split), **files) for name, files, split, _ in cases], keys
    ), []


def _from_folder(folder: Path) -> tuple[list[CaseFiles], list[str]]:
    folder = Path(os.path.abspath(folder))
    splits = [folder / split for split in SPLITS if _folders(folder / split) and not _volumes(folder / split)]
    cases, wrong = [], []
    for other in _folders(folder) if splits else []:
        if other not in splits and (_volumes(other) or any(map(_volumes, _folders(other)))):
            wrong.append(f"{other.name}: lies beside {', '.join(s.name for s in splits)}; move it into one of these")
    for place in splits or [folder]:
        split = place.name if splits else ""
        for case in _folders(place):
            where = case.relative_to(folder).as_posix()
            files, problems = _files_of_case(case, where)
            wrong += problems
            if files and not problems:
                cases.append(CaseFiles(case.name, split=split, split_given=bool(split), **files))
    counts = Counter(case.name for case in cases)
    cases = _with_splits(cases, [case.name for case in cases])
    return [replace(c, name=f"{c.split}/{c.name}") if counts[c.name] > 1 else c for c in cases], wrong


def _files_of_case(case: Path, where: str) -> tuple[dict[str, Path], list[str]]:
    """The files of a case folder by role, and what is wrong with them. A folder of other things is none."""
    volumes = _volumes(case)
    files, wrong = {}, []
    for role, names in _ROLES.items():
        found = [name for name in volumes if name in _file_names(names)]
        if len(found) > 1:
            wrong.append(f"{where}: several files for {role}: {', '.join(found)}")
        if found:
            files[role] = case / found[0]
    unread = [name for role, names in _ROLES.items() if role not in files for name in _of_other_types(case, names)]
    if unread:
        types = ", ".join(_SUFFIXES)
        return {}, [
            f"{where}: {name:.200} is of a type that is not read, known types are {types}; convert or rename it"
            for name in unread
        ]
    if not volumes:
        return {}, _deeper(case, where)
    if not files:
        return {}, [f"{where}: no file is named fixed.* or moving.*; found: {', '.join(volumes)[:200]}"]
    unknown = [name for name in volumes if name not in _file_names([*_NAMES, *_OF_PHANTOMS])]
    if unknown:
        what = f"unknown {', '.join(unknown)[:200]}; known are {', '.join(_NAMES)}"
        wrong.append(f"{where}: {what}: rename or remove them, or list the pairs in a CSV")
    return files, wrong + _incomplete(where, files)


def _deeper(case: Path, where: str) -> list[str]:
    """What is wrong with a folder without volumes: nothing, unless it is a case that was put in another way."""
    deeper = [folder.name for folder in _folders(case) if _volumes(folder)]
    if deeper:
        return [f"{where}: holds images in folders only ({', '.join(deeper)[:200]}); put them into it"]
    if any(map(_holds_dicom, [case, *_folders(case)])):
        return [f"{where}: holds DICOM files; put each series into a folder named fixed or moving (or mr, ct) in it"]
    return []


def _file_names(names: Iterable[str]) -> set[str]:
    return {name + end for name in names for end in ("", *_SUFFIXES)}


def _of_other_types(case: Path, names: Iterable[str]) -> list[str]:
    """The files of a case that have one of these names but for their type, and the case of their letters."""
    others = (name for name in _files(case) if not name.lower().endswith((*_SUFFIXES, *_NO_VOLUMES)))
    return [name for name in others if name.split(".")[0].lower() in names]


def _holds_dicom(folder: Path) -> bool:
    """Whether the first file in a folder is one of DICOM."""
    first = next((folder / name for name in _files(folder)), folder)
    if not first.is_file() or first.suffix.lower() in (".dcm", ".ima"):
        return first.is_file()
    try:
        with open(first, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _volumes(folder: Path) -> list[str]:
    """Names of the image files in a folder, and of its folders that should each be a DICOM series."""
    series = [f.name for f in _folders(folder) if f.name in _NAMES and _files(f) and not _images(f)]
    return sorted([*_images(folder), *series])


def _files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.is_dir() and p.name[0] != ".")


def _images(folder: Path) -> list[str]:
    """Names of the image files in a folder."""
    return [name for name in _files(folder) if name.lower().endswith(_SUFFIXES)]


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, none where there is no such folder."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".") if folder.is_dir() else []


def _incomplete(where: str, files: dict[str, Path]) -> list[str]:
    wrong = [f"{where}: there is no {role} image; a pair needs both" for role in COLUMNS if role not in files]
    labels = [role for role in ("fixed_labels", "moving_labels") if role in files]
    if len(labels) == 1:
        wrong.append(f"{where}: only {labels[0]} is given; give both segmentations or none")
    return wrong


def _with_splits(cases: list[CaseFiles], keys: list[str]) -> list[CaseFiles]:
    """Fill in the splits that are not given: one case in five for validation, chosen by its key.

    So adding cases does not reshuffle the others. Where none would be left to train on, all of them are for training.
    """
    defaults = ["validation" if zlib.crc32(key.encode()) % 5 == 0 else "training" for key in keys]
    if "training" not in [case.split or default for case, default in zip(cases, defaults)]:
        defaults = ["training"] * len(cases)
    return [case if case.split else replace(case, split=default) for case, default in zip(cases, defaults)]
