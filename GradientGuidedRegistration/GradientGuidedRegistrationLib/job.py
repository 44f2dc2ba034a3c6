"""One registration from files to files: checked before the work, written whole after it."""

from __future__ import annotations

import json
import os
import os.path
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from .command import meaning
from .errors import Incomplete, InputError
from .registration.files import (
    IMAGE_SUFFIXES,
    TRANSFORM_SUFFIXES,
    check_content,
    check_output,
    read_image,
    read_labels,
    read_transform,
    write_image,
    write_transform,
)
from .registration.result import Result
from .registration.settings import Settings
from .whole_files import write_text

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Request:
    """What to read, what to do and what to write; None where something is not given or not wanted.

    Images are NIfTI, NRRD or MetaImage files or DICOM folders, segmentations label maps on any grid. ``transform``
    takes points of the fixed image to the moving one (LPS mm), which is what `SimpleITK.Resample(moving, fixed, …)`
    wants; ``report`` is a folder, headed by ``title``; ``label_names`` is a JSON file that names label values.
    """

    fixed: Path
    moving: Path
    transform: Path | None = None
    inverse_transform: Path | None = None
    warped: Path | None = None
    fixed_segmentation: Path | None = None
    moving_segmentation: Path | None = None
    warped_segmentation: Path | None = None
    fixed_mask: Path | None = None
    moving_mask: Path | None = None
    initial_transform: Path | None = None
    label_names: Path | None = None
    metrics: Path | None = None
    report: Path | None = None
    title: str = ""
    settings: Settings = Settings()

    def inputs(self) -> dict[str, Path]:
        """The files to read that are given, by the name of their field."""
        names = ("fixed", "moving", "fixed_segmentation", "moving_segmentation", "fixed_mask", "moving_mask",
                 "initial_transform", "label_names")  # fmt: skip
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def outputs(self) -> dict[str, Path]:
        """The files to write that are wanted, by the name of their field; the report is a folder and not among them."""
        return {name: getattr(self, name) for name in OUTPUTS if getattr(self, name) is not None}


OUTPUTS = {
    "transform": TRANSFORM_SUFFIXES,
    "inverse_transform": TRANSFORM_SUFFIXES,
    "warped": IMAGE_SUFFIXES,
    "warped_segmentation": IMAGE_SUFFIXES,
    "metrics": (".json",),
}


def run(request: Request, progress: Progress | None = None) -> dict[str, Any]:
    """Register as ``request`` says and write what it asks for.

    Returns:
        The metrics, as they are written to ``request.metrics``: "labels" and "mean" (Dice, ASD, HD95 before and
        after), folding, Jacobian, displacement, mutual information, seconds by step, peak memory, device,
        settings, versions. The report is not yet in the seconds of the file.

    Raises:
        InputError: before any work where input or output cannot be used; nothing is written then.
        Incomplete: an output could not be written after others were; the report comes last.
        OSError: the first output could not be written.
        KeyboardInterrupt: its text says what was written, if anything was.
    """
    started = time.perf_counter()
    for wrong in wrong_with({"": request}):
        raise InputError(wrong)
    fixed, moving = _read(request.fixed, "fixed image"), _read(request.moving, "moving image")
    labels = {
        name: read_labels(path, name.replace("_", " "))
        for name, path in request.inputs().items()
        if name.endswith(("segmentation", "mask"))
    }
    for name, image in (("fixed", fixed), ("moving", moving)):
        if f"{name}_segmentation" in labels:
            from .evaluation import check_covers

            path = getattr(request, f"{name}_segmentation")
            check_covers(labels[f"{name}_segmentation"], image, f"{name} segmentation {path}")
    initial = None
    if request.initial_transform is not None:
        initial = read_transform(request.initial_transform, "initial transform")
    names = read_names(request.label_names) if request.label_names is not None else None
    read = time.perf_counter() - started

    from .registration.pipeline import register

    settings = replace(request.settings, inverse=request.settings.inverse or request.inverse_transform is not None)
    result = register(
        fixed, moving, settings, fixed_mask=labels.get("fixed_mask"), moving_mask=labels.get("moving_mask"),
        initial_transform=initial, progress=progress,
    )  # fmt: skip
    segmentations = (labels.get("fixed_segmentation"), labels.get("moving_segmentation"))
    metrics = _metrics(result, fixed, moving, *segmentations, names)
    metrics["seconds"] = {"read": read, **result.timings}
    _write(request, result, fixed, moving, segmentations, metrics, started)
    return metrics


def read_names(path: Path) -> dict[int, str]:
    """Return the names of label values from a JSON file such as {"1": "liver", "2": "spleen"}.

    Raises:
        InputError: when it is no such file.
    """
    try:
        texts = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        if not isinstance(texts, dict) or not all(label.lstrip("-").isdecimal() for label in texts):
            raise ValueError('it is no object such as {"1": "liver", "2": "spleen"}')
        names = {int(label): str(name) for label, name in texts.items()}
        "".join(names.values()).encode("utf-8")  # JSON may have half a letter, which nothing can write
        return names
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"The label names {path} cannot be read ({error}); give a JSON object of names.") from None


def peak_memory_mb() -> float | None:
    """Return the largest memory this process has had, in MB; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _role(name: str) -> str:
    """Name an input or output in a message."""
    return f"{name} image" if name in ("fixed", "moving", "warped") else name.replace("_", " ")


def wrong_with(requests: Mapping[str, Request]) -> list[str]:
    """Return all that keeps requests from being done, a sentence each. Reads no file.

    Args:
        requests: by the name of the case, with which its sentences begin; "" for a single one.
    """
    taken = {
        _identity(path): (case, _role(name)) for case, request in requests.items() for name, path in _read_by(request)
    }
    return [
        f"{case}: {wrong}" if case else wrong
        for case, request in requests.items()
        for wrong in (*_wrong_inputs(request), *_wrong_outputs(case, request, taken))
    ]


def _read_by(request: Request) -> Iterator[tuple[str, Path]]:
    yield from ((name, path) for name, path in request.inputs().items() if os.path.exists(path))
    if request.settings.weights is not None:
        yield "weights_file", request.settings.weights


def _wrong_inputs(request: Request) -> Iterator[str]:
    for name, path in request.inputs().items():
        if not os.path.exists(path):
            yield f"The {_role(name)} {path} does not exist; check the path."
    if request.warped_segmentation is not None and request.moving_segmentation is None:
        yield "A warped segmentation is wanted, but there is no moving segmentation to warp; give one."


def _wrong_outputs(case: str, request: Request, taken: dict[object, tuple[str, str]]) -> Iterator[str]:
    """``taken`` says what each file is already; the outputs are added."""
    outputs = request.outputs() | ({"report": request.report} if request.report is not None else {})
    if not outputs:
        yield "Nothing would be written; ask for at least a transform, a warped image, metrics or a report."
    for name, path in outputs.items():
        role = _role(name)
        other_case, other = taken.setdefault(_identity(path), (case, role))
        if (other_case, other) != (case, role):
            whose = f" of {other_case}" if other_case != case else ""
            yield f"The {role} {path} is also the {other}{whose}; give it a name of its own."
            continue
        try:
            if name == "report":
                if os.path.isfile(path):
                    raise InputError(f"The report folder {path} is a file; give the name of a folder.")
                from .figures.earlier import REPORT_NAME, check_replaceable

                check_output(Path(path) / REPORT_NAME, "report")
                check_replaceable(path)
            else:
                check_output(path, role, OUTPUTS[name])
        except InputError as error:
            yield str(error)


def _identity(path: Path) -> object:
    """What is the same for all names of a file: relative ones, links, other capitals where the disk ignores them."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def _read(path: Path, role: str) -> sitk.Image:
    image = read_image(path, role)
    check_content(image, f"{role} {path}")
    return image


def _metrics(
    result: Result, fixed: sitk.Image, moving: sitk.Image, fixed_labels, moving_labels, names: dict[int, str] | None
) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    if fixed_labels is not None and moving_labels is not None:
        from .evaluation import compare_registered

        metrics |= compare_registered(fixed_labels, moving_labels, fixed, moving, result.field, names)
    return {
        **metrics,
        **result.quality,
        "device": result.settings.device,
        "seed": result.settings.seed,
        "settings": result.settings.plain(),
        "versions": result.versions,
    }


def _write(
    request: Request, result: Result, fixed, moving, segmentations, metrics: dict[str, Any], started: float
) -> None:
    """Write what is wanted, the report last: it is the longest, and the results are there if it fails."""
    seconds, begun, inverse = metrics["seconds"], time.perf_counter(), result.inverse_field

    def write_metrics(path: Path) -> None:
        seconds["write"], seconds["total"] = time.perf_counter() - begun, time.perf_counter() - started
        metrics["peak_memory_mb"] = peak_memory_mb()
        write_text(path, json.dumps(metrics, indent=2, allow_nan=False) + "\n")

    def write_pages(folder: Path) -> None:
        from .figures import write_report
        from .renderer import report_renderer

        at = time.perf_counter()
        write_report(
            result, fixed, moving, folder, fixed_labels=segmentations[0], moving_labels=segmentations[1],
            case=request.title, metrics=metrics, render=report_renderer(),
        )  # fmt: skip
        seconds["report"] = time.perf_counter() - at

    writers: dict[str, Callable[[Path], object]] = {
        "transform": lambda path: write_transform(result.field, path),
        "inverse_transform": lambda path: write_transform(inverse, path) if inverse is not None else None,
        "warped": lambda path: write_image(result.warp(moving, fixed), path),
        "warped_segmentation": lambda path: write_image(result.warp_labels(segmentations[1], fixed), path),
        "metrics": write_metrics,
        "report": write_pages,
    }
    written: list[str] = []
    for name, write in writers.items():
        path = getattr(request, name)
        if path is None:
            continue
        try:
            write(path)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; written: {', '.join(written)}" if written else "") from None
        except Exception as error:
            if not written:
                raise
            raise Incomplete(
                f"The {_role(name)} {path} is missing: {meaning(error)} Written before it: {', '.join(written)}."
            ) from error
        written.append(str(path))
    seconds.setdefault("write", time.perf_counter() - begun)
    seconds["total"] = time.perf_counter() - started
    metrics.setdefault("peak_memory_mb", peak_memory_mb())


def request_from(values: dict[str, Any], settings: Settings) -> Request:
    """Return a request from texts by name, as a row of a table gives them; empty texts count as not given.

    Raises:
        InputError: for an unknown name, or without a fixed or a moving image.
    """
    known = {f.name for f in fields(Request)} - {"settings"}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InputError(f"Unknown column {', '.join(unknown)}; known are {', '.join(sorted(known))}.")
    given = {name: value for name, value in values.items() if value not in (None, "")}
    missing = [name for name in ("fixed", "moving") if name not in given]
    if missing:
        raise InputError(f"No {' and no '.join(missing)} image is given.")
    paths: dict[str, Any] = {name: value if name == "title" else Path(value) for name, value in given.items()}
    return Request(**paths, settings=settings)
