"""What a report is made of, on disk, so that it can be written in another process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import SimpleITK as sitk

from ..errors import InputError
from ..registration.result import Result
from ..registration.storage import read_result, write_result
from ..whole_files import write_text

_RESULT, _NAMES = "result", "names.json"
_IMAGES = ("fixed", "moving", "fixed_labels", "moving_labels")


@dataclass(frozen=True)
class ReportJob:
    """The input of `write_report` as one value: images in LPS mm, labels on any grid or None."""

    result: Result
    fixed: sitk.Image
    moving: sitk.Image
    fixed_labels: sitk.Image | None = None
    moving_labels: sitk.Image | None = None
    label_names: dict[int, str] = field(default_factory=dict)


def write_report_job(job: ReportJob, folder: str | Path) -> None:
    """Write a job into a new folder. Images are stored uncompressed (a scratch folder, read once)."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    for name in _IMAGES:
        image = getattr(job, name)
        if image is not None:
            sitk.WriteImage(image, str(folder / f"{name}.mha"), useCompression=False)
    write_text(folder / _NAMES, json.dumps(job.label_names))
    write_result(job.result, folder / _RESULT)


def read_report_job(folder: str | Path) -> ReportJob:
    """Read what `write_report_job` wrote.

    Raises:
        InputError: when the folder is not a whole job.
    """
    folder = Path(folder)
    images = {
        name: sitk.ReadImage(str(folder / f"{name}.mha")) for name in _IMAGES if (folder / f"{name}.mha").is_file()
    }
    if not {"fixed", "moving"} <= set(images) or not (folder / _NAMES).is_file():
        raise InputError(f"The job folder {folder} is not complete; start the report again.")
    names = {int(value): name for value, name in json.loads((folder / _NAMES).read_text("utf-8")).items()}
    return ReportJob(read_result(folder / _RESULT), **images, label_names=names)
