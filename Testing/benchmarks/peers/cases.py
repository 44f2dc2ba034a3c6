"""The cases of the benchmark, written as folders that every method can read."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from case_folder import CaseFolder
from known_warps import moved, spoiled, tissue_points
from other_phantoms import other_phantom, sliding_phantom
from rendered import SEQUENCES, rendered_mr

from GradientGuidedRegistrationLib.evaluation import label_metrics, mean_metrics
from GradientGuidedRegistrationLib.registration import read_image
from GradientGuidedRegistrationLib.registration.grid import Grid, covering_grid
from GradientGuidedRegistrationLib.registration.intensity import CT_WINDOW_HU, normalize
from GradientGuidedRegistrationLib.training.phantom import LABELS, ORGANS, phantom_images

GROUPS = {
    "common": "phantoms on a common grid, 144 x 144 x 128 voxels of 1 mm, organ Dice 75-85 % before",
    "scanner": "phantoms in scanner geometry: oblique anisotropic MR, anisotropic CT, rigid misalignment",
    "other": "phantoms of another kind, 144 x 144 x 128 voxels of 1 mm, strong deformation (9-15 mm) on a small scale",
    "sliding": "phantoms of that kind whose abdomen glides along its wall by 8-14 mm",
    "sts": "CT-MR pairs of patients, CT warped by a known smooth field (10 mm) and moved (25 mm, 10 degrees)",
    "rendered": "MR rendered from CTs of patients, CT warped by a known smooth field (10 mm, then 16 mm) and moved "
    "(25 mm, 10 degrees)",
}
STS_CASES = ("STS_010", "STS_023", "STS_047")
_FIRST_SEED = {"common": 100, "scanner": 200, "other": 300, "sliding": 400}
_WARPS = {
    "mild": argparse.Namespace(amplitude=10.0, width=30.0, degrees=10.0, millimetres=25.0),
    "strong": argparse.Namespace(amplitude=16.0, width=22.0, degrees=10.0, millimetres=25.0),
}
_OTHERS = {"other": other_phantom, "sliding": sliding_phantom}
_NAMES = {
    "sts": STS_CASES,
    "rendered": tuple(f"{patient}-{SEQUENCES[(number + start) % 3]}-{strength}" for start, strength in
                      enumerate(_WARPS) for number, patient in enumerate(STS_CASES)),
}  # fmt: skip
PATIENTS = tuple(_NAMES)  # groups that need them
_DICE_BEFORE = (0.75, 0.85)
_POINTS = 2000
_PHANTOMS_WINDOW_HU = (-1000.0, 1000.0)  # for the peers
_GRID_MM = {"common": 1.0, "scanner": 1.3, "other": 1.0, "sliding": 1.0, "sts": 2.0, "rendered": 2.0}
SCORED = {LABELS.index(organ): organ for organ in ORGANS}


@dataclass(frozen=True)
class Pair:
    """Images in LPS mm, and points of the fixed image with their true places in the moving one.

    `aligned_targets` are the places if the pair, which was near alignment as scanned, is first aligned rigidly;
    `scanned` is the moving image before it was spoiled, and `spoiling` the point transform that did it.
    """

    fixed: sitk.Image
    moving: sitk.Image
    points: np.ndarray
    targets: np.ndarray
    fixed_labels: sitk.Image | None = None
    moving_labels: sitk.Image | None = None
    aligned_targets: np.ndarray | None = None
    scanned: sitk.Image | None = None
    spoiling: sitk.Transform | None = None


def case_folders(group: str, count: int, data: Path | None, output: Path, redo: bool) -> Iterator[CaseFolder]:
    """The first `count` cases of a group, written to `output` where they are not there yet."""
    index = output / "cases" / f"{group}.json"
    known = [] if redo or not index.is_file() else json.loads(index.read_text(encoding="utf-8"))
    names = list(_NAMES[group][:count]) if group in PATIENTS else _phantom_names(group, count, known)
    index.parent.mkdir(parents=True, exist_ok=True)
    if len(names) >= len(known):
        index.write_text(json.dumps(names), encoding="utf-8")
    for number, name in enumerate(names):
        folder = CaseFolder(output / "cases" / group / name)
        if redo or not (folder.path / "truth.npz").is_file():
            shutil.rmtree(folder.path, ignore_errors=True)
            _write(_pair(group, name, number, data), group, folder)
        yield folder


def _pair(group: str, name: str, number: int, data: Path | None) -> Pair:
    if group == "sts":
        return sts_pair(name, number, data)
    return _rendered_pair(name, number, data) if group == "rendered" else _phantom(group, int(name))


def _phantom_names(group: str, count: int, known: list[str]) -> list[str]:
    """Seeds; those of the common grid are the first ones with an overlap before registration in the wanted range."""
    names = known[:count]
    seed = int(names[-1]) + 1 if names else _FIRST_SEED[group]
    while len(names) < count:
        if group != "common" or _DICE_BEFORE[0] <= _dice_before(seed) <= _DICE_BEFORE[1]:
            names.append(str(seed))
        seed += 1
    return names


def _dice_before(seed: int) -> float:
    images = phantom_images(seed)
    return mean_metrics(label_metrics(images["fixed_labels"], images["moving_labels"], SCORED))["dice"]


def _phantom(group: str, seed: int) -> Pair:
    if group in _OTHERS:
        fixed, moving, labels, moving_labels, truth = _OTHERS[group](seed)
        points = body_points(labels, _POINTS)
        return Pair(fixed, moving, points, moved(truth, points), labels, moving_labels)
    images = phantom_images(seed, geometry=group)
    labels = images["fixed_labels"]
    points = body_points(labels, _POINTS)
    truth = sitk.DisplacementFieldTransform(sitk.Image(images["field"]))
    return Pair(images["fixed"], images["moving"], points, moved(truth, points), labels, images["moving_labels"])


def body_points(labels: sitk.Image, count: int) -> np.ndarray:
    """Return LPS points (P, 3) of voxels with a label, at most so many."""
    body = np.argwhere(sitk.GetArrayViewFromImage(labels) > 0)[:, ::-1]
    chosen = body[np.random.default_rng(0).choice(len(body), min(count, len(body)), replace=False)]
    return np.array([labels.TransformIndexToPhysicalPoint(index.tolist()) for index in chosen])


def sts_pair(name: str, warp: int, data: Path | None) -> Pair:
    """A pair of patients with warp number `warp`."""
    fixed, ct = _scans(name, data)
    moving, truth = spoiled(ct, _WARPS["mild"], seed=warp)
    points = tissue_points(fixed, _POINTS)
    aligned = moved(truth, moved(_as_scanned(fixed, ct), points))
    return Pair(fixed, moving, points, moved(truth, points), aligned_targets=aligned, scanned=ct, spoiling=truth)


def _rendered_pair(name: str, number: int, data: Path | None) -> Pair:
    patient, sequence, strength = name.split("-")
    scan, ct = _scans(patient, data)
    fixed = Grid.of(scan).resample(rendered_mr(ct, sequence, number))
    moving, truth = spoiled(ct, _WARPS[strength], seed=40 + number)
    points = tissue_points(fixed, _POINTS)
    return Pair(fixed, moving, points, moved(truth, points))


def _scans(patient: str, data: Path | None) -> tuple[sitk.Image, sitk.Image]:
    """The MR and the CT of a patient."""
    if data is None:
        raise SystemExit("This group needs --data FOLDER with CASE/MR_T1_image.nii.gz and CASE/CT_image.nii.gz.")
    mr, ct = (read_image(data / patient / file) for file in ("MR_T1_image.nii.gz", "CT_image.nii.gz"))
    return mr, ct


def _as_scanned(fixed: sitk.Image, ct: sitk.Image) -> sitk.Transform:
    """Rigid alignment of a pair as scanned, by mutual information and Powell's method: none of the methods' own."""
    registration = sitk.ImageRegistrationMethod()
    registration.SetMetricAsMattesMutualInformation(32)
    registration.SetMetricSamplingStrategy(registration.RANDOM)
    registration.SetMetricSamplingPercentage(0.15, 1)
    registration.SetInterpolator(sitk.sitkLinear)
    motion = sitk.Euler3DTransform()
    motion.SetCenter(Grid.of(fixed).center.tolist())
    registration.SetInitialTransform(motion, inPlace=True)
    registration.SetOptimizerAsPowell(20, 50, 0.5, 1e-3, 1e-6)
    registration.SetOptimizerScales([100.0] * 3 + [1.0] * 3)
    registration.SetShrinkFactorsPerLevel([2, 1])
    registration.SetSmoothingSigmasPerLevel([2, 1])
    registration.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    registration.Execute(sitk.Cast(fixed, sitk.sitkFloat32), sitk.Clamp(ct, sitk.sitkFloat32, *CT_WINDOW_HU))
    return motion


def _write(pair: Pair, group: str, folder: CaseFolder) -> None:
    _write_images(pair.fixed, pair.moving, group, folder)
    if pair.fixed_labels is not None and pair.moving_labels is not None:
        folder.write("fixed_labels", pair.fixed_labels)
        folder.write("moving_labels", pair.moving_labels)
    if pair.scanned is not None and pair.spoiling is not None:
        _write_images(pair.fixed, pair.scanned, group, folder.scanned)
        sitk.WriteTransform(pair.spoiling, str(folder.spoiling))
    truth = {"points": pair.points, "targets": pair.targets, "aligned_targets": pair.aligned_targets}
    np.savez(folder.path / "truth.npz", **{name: array for name, array in truth.items() if array is not None})


def _write_images(fixed: sitk.Image, moving: sitk.Image, group: str, folder: CaseFolder) -> None:
    folder.path.mkdir(parents=True)
    grid = covering_grid(fixed, _GRID_MM[group])
    folder.write("grid", grid.image(np.zeros(grid.shape, np.uint8)))
    folder.write("fixed", fixed)
    folder.write("moving", moving)
    window = CT_WINDOW_HU if group in PATIENTS else _PHANTOMS_WINDOW_HU
    folder.write("clipped", sitk.Clamp(moving, sitk.sitkFloat32, *window))
    folder.write("valid", normalize(fixed).valid)
