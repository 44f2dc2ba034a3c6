"""Own CT-MR pairs: read once, put on a working grid, kept on disk as arrays, handed out whole or as random crops."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import InputError, all_wrong
from ..whole_files import replacing
from .case import Case, background
from .case_images import read_case
from .case_table import CaseFiles, training_cases
from .phantom.draws import Draws, training_seed


class FileSource:
    """The pairs of a folder or a CSV on a grid of `spacing` mm.

    Args:
        data: see `case_table.read_cases`.
        shape: (D, H, W) of what is handed out.
        crop: random places for training; otherwise, and for validation, the middle of the volume.
        cache: folder for the prepared arrays.
        initialization: "none", or "rigid" or "affine" to align each pair first.
        seed: of the order in which the pairs come.

    Raises:
        InputError: missing or unreadable files, segmentations with different label sets, all told at once; no training
            case.
    """

    def __init__(
        self,
        data: Path,
        shape: tuple[int, int, int],
        spacing: float,
        crop: bool,
        cache: Path,
        initialization: str = "none",
        seed: int = 0,
    ):
        self.shape, self.spacing, self.crop, self.initialization = shape, spacing, crop, initialization
        self.cache, self.seed = cache, seed
        wrong = []
        prepared: dict[str, list[tuple[CaseFiles, Path]]] = {}
        self.cases = training_cases(data)
        for case in self.cases:
            try:
                prepared.setdefault(case.split, []).append((case, self._prepare(case)))
            except InputError as error:
                wrong.append(f"{case.name}: {error}")
        if wrong:
            raise all_wrong(f"The training data {data} cannot be used:", wrong)
        # With very few cases nothing can be set aside: better to validate on the training cases than not at all.
        self.training = prepared["training"]
        self.validation = prepared.get("validation") or self.training

    def fingerprints(self) -> dict[str, list[Any]]:
        """By name of the pair its split and the check sums of its arrays, to tell whether a run has the same pairs."""
        pairs = dict.fromkeys([*self.training, *self.validation])
        return {case.name: [case.split, *_check_sums(path)] for case, path in pairs}

    def put_in_order(self, names: Iterable[str]) -> None:
        """Hand the pairs out as if they were listed in this order of all their names."""
        places = {name: place for place, name in enumerate(names)}
        for pairs in (self.training, self.validation):
            pairs.sort(key=lambda pair: places[pair[0].name])

    def training_case(self, number: int, d: Draws) -> Case:
        """Training pair `number`: each pair once an epoch, in an order that is drawn for each epoch."""
        epoch, place = divmod(number, len(self.training))
        generator = torch.Generator().manual_seed(training_seed("order", self.seed, epoch))
        order = torch.randperm(len(self.training), generator=generator)
        return self._fitted(self._load(*self.training[int(order[place])]), d if self.crop else None)

    def validation_case(self, index: int) -> Case:
        """Validation pair `index`, its middle."""
        return self._fitted(self._load(*self.validation[index]), None)

    def _load(self, case: CaseFiles, path: Path) -> Case:
        with np.load(path) as arrays:
            tensors = {name: torch.from_numpy(arrays[name])[None, None] for name in arrays.files}
        for name in ("fixed", "moving", "fixed_mask", "moving_mask"):
            tensors[name] = tensors[name].float()
        tensors["moving_full"] = tensors["moving"]
        for name in ("fixed", "moving"):
            tensors[name] = tensors[name].clamp(0, 1)
        labels = {}
        if "fixed_labels" in tensors:
            labels = {int(v): f"label {int(v)}" for v in torch.unique(tensors["fixed_labels"]) if v}
        return Case(**tensors, spacing=(self.spacing,) * 3, names=(case.name,), label_names=labels)

    def _fitted(self, case: Case, d: Draws | None) -> Case:
        """The case cut or padded to `shape`: at a random place, or in the middle if there are no draws."""
        pads: list[int] = []
        places: list[slice] = []
        for size, wanted in zip(case.fixed.shape[2:], self.shape):
            spare = size - wanted
            start = 0 if spare <= 0 else (d.integer(0, spare) if d is not None else spare // 2)
            places.append(slice(start, start + min(size, wanted)))
            pads = [max(0, -spare) // 2, max(0, -spare) - max(0, -spare) // 2] + pads
        d_range, h_range, w_range = places
        cut: dict[str, Any] = {name: value[..., d_range, h_range, w_range] for name, value in case.tensors().items()}
        if any(pads):
            cut = {name: F.pad(value, pads, value=background(value)) for name, value in cut.items()}
        return replace(case, **cut)

    def _prepare(self, case: CaseFiles) -> Path:
        """The case's arrays on disk; made if they are not there or the files have changed."""
        files = [p for p in (case.fixed, case.moving, case.fixed_labels, case.moving_labels) if p is not None]
        stamp = [f"{p} {_newest(p)}" for p in files] + [str(self.spacing), self.initialization, "4"]
        target = self.cache / f"{hashlib.sha256(' '.join(stamp).encode()).hexdigest()[:24]}.npz"
        if not target.is_file():
            arrays = _on_working_grid(case, self.spacing, self.initialization)
            with replacing(target) as temporary, open(temporary, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        return target


def _check_sums(path: Path) -> list[int]:
    with zipfile.ZipFile(path) as arrays:
        return [member.CRC for member in arrays.infolist()]


def _newest(path: Path) -> int:
    """When a file was last changed; of a series, and of a header with its voxels beside it, when anything there was."""
    folder = path.parent if path.suffix.lower() in (".mhd", ".nhdr") else path
    files = sorted(folder.iterdir()) if folder.is_dir() else [path]
    return max((file.stat().st_mtime_ns for file in files), default=0)


def _on_working_grid(case: CaseFiles, spacing: float, initialization: str) -> dict[str, np.ndarray]:
    """Arrays (D, H, W): images (float16), masks and labels on the grid that a registration would lay over them.

    It is isotropic and lies around what was measured of the fixed image, with axes in the order L, P, S.
    """
    import SimpleITK as sitk

    from ..registration.grid import Grid, in_patient_order, working_grid
    from ..registration.intensity import normalize
    from ..registration.linear import align
    from ..registration.pipeline import Pair

    images = read_case(case)
    fixed, moving = in_patient_order(images.fixed), in_patient_order(images.moving)
    fixed_unit, moving_unit = normalize(fixed).cropped(), normalize(moving).cropped()
    transform = align(fixed_unit, moving_unit, initialization)
    grid = working_grid(Grid.of(fixed), spacing, valid=fixed_unit.valid)
    if min(grid.shape) < 8:
        raise InputError(f"only {grid.shape} voxels of {spacing} mm; take a smaller spacing.")
    pair = Pair.on(grid, fixed_unit, moving_unit, transform, "cpu")
    arrays = {}
    for name, unit, image, mask in (
        ("fixed", fixed_unit, pair.fixed, pair.fixed_mask),
        ("moving", moving_unit, pair.moving, pair.moving_mask),
    ):
        values = sitk.GetArrayViewFromImage(unit.image)  # a spline leads past their range, the background must not
        arrays[name] = image[0, 0].numpy().clip(values.min(), values.max()).astype(np.float16)
        arrays[f"{name}_mask"] = (torch.ones_like(image) if mask is None else mask)[0, 0].numpy().astype(np.uint8)
    for name, labels, through in (
        ("fixed_labels", images.fixed_labels, None),
        ("moving_labels", images.moving_labels, transform),
    ):
        if labels is not None:
            resampled = grid.resample(labels, through, sitk.sitkNearestNeighbor)
            arrays[name] = sitk.GetArrayFromImage(resampled).astype(np.int32)
    return arrays
