"""Fit the expected error of `registration/trust.py` to registrations with a known truth, and say how well it predicts.

    python Testing/benchmarks/trust_calibration.py --seeds 300 301 302 303 304 305 --data FOLDER

Each phantom is registered as it is, in scanner geometry, and moved away without a linear alignment, so that failures
take part. Three in five have more noise than phantoms are trained with. With FOLDER (see known_warps.py) all pairs of
patients in it that are warped and moved take part, from an alignment and from where they lie, and with more noise in
their CT. Of those that were nearly aligned as scanned the rigid alignment of the pair is part of the truth; of others
what the registration makes of the pair as scanned, so that their error is what is missed of the warp and the motion.

Prints, with the shipped coefficients, with those of the even seeds on the odd ones and the other way round, and with
those of all: the area under the ROC curve for an error above 5 mm, the correlation of the logarithms over all cases and
within one, true and expected mean error of every case, and its verdict. With the shipped ones, a table of the verdicts,
too, as in Resources/trust.md.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "GradientGuidedRegistration"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

from cases import STS_CASES, body_points, sts_pair
from known_warps import moved

from GradientGuidedRegistrationLib.registration import Settings, register, trust
from GradientGuidedRegistrationLib.registration.grid import Grid
from GradientGuidedRegistrationLib.training.phantom import phantom_images

_POINTS = 1500
_SHIFTS_MM = (8.0, 18.0, 28.0, 38.0)
_NOISE = ((0, 0.0), (80, 0.0), (0, 0.1), (200, 0.0), (0, 0.0))  # of the CT in HU, of the MR in its 95th percentile
_OF_PATIENTS = (("rigid", 0), ("none", 0), ("rigid", 120))  # initialization, noise of the CT in HU
_FIRST_WARP = 30


@dataclass(frozen=True)
class Case:
    """One registration: 1, logarithms of local doubt and of what tells of it (P, 3), true error in mm (P), verdict."""

    name: str
    seed: int
    features: np.ndarray
    error: np.ndarray
    verdict: str

    @property
    def is_patient(self) -> bool:
        return not self.name[0].isdigit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(300, 306)))
    parser.add_argument("--data", type=Path, help="folder of the pairs of patients")
    options = parser.parse_args()
    trust._LARGEST_MM = np.inf  # the fit wants what the law says, not what it is cut to
    cases = [case for seed in options.seeds for case in registered(seed)]
    if options.data is not None:
        names = sorted(file.parent.name for file in options.data.glob("*/CT_image.nii.gz"))
        cases += [
            case for number, name in enumerate(names) for case in patient(name, _FIRST_WARP + number, options.data)
        ]
    report("as shipped", np.array([trust._CONSTANT, trust._DOUBT, trust._FIT]), cases)
    print(by_verdict(cases))
    even, odd = ([case for case in cases if case.seed % 2 == parity] for parity in (0, 1))
    for name, fitted, tested in (("even on odd", even, odd), ("odd on even", odd, even), ("all", cases, cases)):
        if fitted and tested:
            report(name, fit(fitted), tested)


def registered(seed: int) -> list[Case]:
    """Register the phantom of a seed in three ways."""
    common = phantom_images(seed, shape=(96, 112, 112), spacing=1.3)
    scanner = phantom_images(seed, geometry="scanner")
    away = dict(common)
    shift = (_SHIFTS_MM[seed % 4], 0.0, 0.0)
    away["moving"] = sitk.Image(common["moving"])
    away["moving"].SetOrigin(np.add(common["moving"].GetOrigin(), shift).tolist())
    ct_noise, mr_noise = _NOISE[seed % len(_NOISE)]
    found = []
    for name, images, initialization, offset in (
        ("as it is", common, "none", (0.0, 0.0, 0.0)),
        ("scanner", scanner, "rigid", (0.0, 0.0, 0.0)),
        (f"{shift[0]:.0f} mm away", away, "none", shift),
    ):
        points = body_points(images["fixed_labels"], _POINTS)
        targets = moved(sitk.DisplacementFieldTransform(sitk.Image(images["field"])), points) + offset
        bright = float(np.percentile(sitk.GetArrayViewFromImage(images["fixed"]), 95))
        pair = noisy(images["fixed"], mr_noise * bright, seed), noisy(images["moving"], ct_noise, seed + 1)
        found.append(measured(f"{seed} {name}", seed, pair, initialization, points, targets))
    return found


def patient(name: str, warp: int, data: Path) -> list[Case]:
    """Register a pair of patients, warped and moved, in several ways."""
    pair = sts_pair(name, warp, data)
    targets = pair.aligned_targets
    if name not in STS_CASES:
        assert pair.scanned is not None and pair.spoiling is not None
        own = register(pair.fixed, pair.scanned, Settings(device="cpu"))
        targets = moved(pair.spoiling, moved(own.transform, pair.points))
    assert targets is not None
    return [
        measured(
            f"{name} {initialization} {noise} HU",
            warp,
            (pair.fixed, noisy(pair.moving, noise, warp)),
            initialization,
            pair.points,
            targets,
        )
        for initialization, noise in _OF_PATIENTS
    ]


def noisy(image: sitk.Image, deviation: float, seed: int) -> sitk.Image:
    """Return the image with Gaussian noise of this standard deviation added, the same on every machine."""
    noise = np.random.default_rng(seed).normal(scale=deviation, size=image.GetSize()[::-1])
    return Grid.of(image).image((sitk.GetArrayViewFromImage(image) + noise).astype(np.float32))


def measured(
    name: str,
    seed: int,
    pair: tuple[sitk.Image, sitk.Image],
    initialization: str,
    points: np.ndarray,
    targets: np.ndarray,
) -> Case:
    """Register a pair (fixed, moving); its error is that at points (P, 3), LPS mm, with their true targets."""
    result = register(*pair, Settings(initialization=initialization, device="cpu"))
    expected = result.expected_error
    assert expected is not None
    indices = [expected.TransformPhysicalPointToContinuousIndex(point) for point in points.tolist()]
    inside = np.clip(indices, 0, np.array(expected.GetSize()) - 1)
    size = np.array([expected.EvaluateAtContinuousIndex(index) for index in inside.tolist()])
    told = np.log(max(result.quality["information_told"], 0.0) + trust._LEAST_TOLD)
    # What the shipped coefficients made of the doubt, undone.
    level = trust._CONSTANT + trust._FIT * told
    doubt = (np.log(size + 0.3) - level) / trust._DOUBT
    features = np.column_stack([np.ones(len(size)), doubt, np.full(len(size), told)])
    error = np.linalg.norm(moved(result.transform, points) - targets, axis=1)
    return Case(name, seed, features, error, result.quality["verdict"])


def fit(cases: list[Case]) -> np.ndarray:
    """Return the coefficients; all patients together count as much as all phantoms."""
    patients = sum(case.is_patient for case in cases)
    share = {True: 1 / max(patients, 1), False: 1 / max(len(cases) - patients, 1)}
    weights = np.sqrt(np.hstack([np.full(len(case.error), share[case.is_patient]) for case in cases]))
    features = np.vstack([case.features for case in cases])
    errors = np.log(np.hstack([case.error for case in cases]) + 0.3)
    return np.linalg.lstsq(features * weights[:, None], errors * weights, rcond=None)[0]


def report(name: str, coefficients: np.ndarray, cases: list[Case]) -> None:
    predicted = [np.exp(case.features @ coefficients) - 0.3 for case in cases]
    true, expected = np.hstack([case.error for case in cases]), np.hstack(predicted)
    within = [correlation(case.error, values) for case, values in zip(cases, predicted)]
    print(f"{name}: coefficients {coefficients.round(3)}, AUC {auc(expected, true > trust.LARGE_MM):.3f}, "
          f"correlation {correlation(true, expected):.2f}, within a case {np.mean(within):.2f}")  # fmt: skip
    for case, values in zip(cases, predicted):
        print(f"    {case.name:<20} true {case.error.mean():5.2f} mm, expected {values.mean():5.2f} mm, {case.verdict}")


def correlation(true: np.ndarray, expected: np.ndarray) -> float:
    """Return the correlation of the logarithms of errors in mm."""
    return float(np.corrcoef(np.log(true + 0.3), np.log(expected + 0.3))[0, 1])


def by_verdict(cases: list[Case]) -> str:
    """Return a Markdown table of the mean true errors of the registrations with each verdict."""
    lines = [
        "| verdict | registrations | true mean error (mm), median | least to greatest | above 5 mm |",
        "|---|---|---|---|---|",
    ]
    for verdict in trust.VERDICTS:
        errors = [case.error.mean() for case in cases if case.verdict == verdict]
        if errors:
            above = sum(error > trust.LARGE_MM for error in errors)
            span = f"{min(errors):.2f} to {max(errors):.2f}"
            lines.append(f"| {verdict} | {len(errors)} | {np.median(errors):.2f} | {span} | {above} |")
    return "\n".join(lines)


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a positive scores above a negative."""
    ranks = np.argsort(np.argsort(score))
    count = int(positive.sum())
    if count in (0, len(score)):
        return float("nan")
    return float((ranks[positive].sum() - count * (count - 1) / 2) / (count * (len(score) - count)))


if __name__ == "__main__":
    main()
