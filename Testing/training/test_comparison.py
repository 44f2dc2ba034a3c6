"""Table 1: the statistics against scipy, the table, and the whole comparison on small phantoms."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import stats

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.registration.files import read_labels, write_image
from GradientGuidedRegistrationLib.registration.grid import covering_grid
from GradientGuidedRegistrationLib.registration.models import MODELS
from GradientGuidedRegistrationLib.training import EvaluationSettings, evaluate
from GradientGuidedRegistrationLib.training.case_table import read_cases
from GradientGuidedRegistrationLib.training.comparison import run
from GradientGuidedRegistrationLib.training.comparison.cases import cases
from GradientGuidedRegistrationLib.training.comparison.measure import measure
from GradientGuidedRegistrationLib.training.comparison.methods import ROWS, Outcome
from GradientGuidedRegistrationLib.training.comparison.statistics import mean_and_sd, paired_p_value
from GradientGuidedRegistrationLib.training.comparison.table import Table
from GradientGuidedRegistrationLib.training.phantom import phantom_images
from GradientGuidedRegistrationLib.training.split import write_pairs

SMALL = {"cases": 2, "shape": (28, 28, 28), "spacing": 4.0}


@pytest.mark.parametrize("count", [5, 9, 14])
def test_paired_test_agrees_with_scipy(count: int) -> None:
    source = np.random.default_rng(count)
    first = source.normal(80, 4, count)
    second = first + source.normal(1, 2, count)
    expected = stats.permutation_test((first, second), lambda a, b: np.mean(a - b), permutation_type="samples",
                                      n_resamples=np.inf).pvalue  # fmt: skip
    assert paired_p_value(first.tolist(), second.tolist()) == pytest.approx(expected, abs=1e-9)


def test_paired_test_of_many_pairs_is_close_to_the_exact_one() -> None:
    source = np.random.default_rng(1)
    first = source.normal(0, 1, 15)
    second = first + source.normal(0.4, 1, 15)
    exact = stats.permutation_test((first, second), lambda a, b: np.mean(a - b), permutation_type="samples",
                                   n_resamples=np.inf).pvalue  # fmt: skip
    assert paired_p_value(first.tolist(), second.tolist()) == pytest.approx(exact, abs=0.01)


def test_summary_leaves_out_what_is_not_known() -> None:
    assert mean_and_sd([1.0, None, 3.0]) == (2.0, pytest.approx(2**0.5))
    assert mean_and_sd([None, 2.0]) == (2.0, None)  # one value has no spread
    assert mean_and_sd([None]) is None
    assert paired_p_value([1.0, None], [2.0, 3.0]) is None


def test_truth_scores_best_and_zero_scores_as_moving() -> None:
    pair = next(cases(EvaluationSettings("unused", **SMALL)))
    before, after = measure(pair, Outcome(None, 0.0))[-1], measure(pair, Outcome(pair.truth, 1.0))[-1]
    assert after["tre_mm"] == pytest.approx(0, abs=1e-6)
    assert before["tre_mm"] > 1
    assert after["dice"] > before["dice"]
    assert after["folding_percent"] == 0
    assert after["seconds"] == 1.0


def test_comparison_writes_the_table_and_names_what_is_left_out(tmp_path: Path, folding_weights: Path) -> None:
    rows = ("Moving", "VM", "Ours(gated)", "Refinement alone")
    steps = []
    table = evaluate(
        EvaluationSettings(tmp_path / "out", rows=rows, weights=folding_weights.parent, **SMALL),
        progress=lambda step, fraction: steps.append((step, fraction)),
    )
    assert table.methods == ["Moving", "Ours(gated)", "Refinement alone"]
    text = (tmp_path / "out" / "table.txt").read_text(encoding="utf-8")
    assert "Dice liver (%)" in text and "±" in text
    assert "Left out: VM: no weights vm.pt" in text
    assert "it is not used: Ours(gated) 2." in text
    moving, folded, refined = (np.mean(table.values(name, "", "dice")) for name in table.methods)
    assert folded == pytest.approx(moving)  # a field that folds moves nothing
    assert refined > moving
    with open(tmp_path / "out" / "measures.csv", newline="", encoding="utf-8") as file:
        measures = list(csv.DictReader(file))
    assert {row["case"] for row in measures} == {"phantom 0", "phantom 1"}
    assert len(measures) == 3 * 2 * 8  # methods, cases, seven organs and the whole
    with open(tmp_path / "out" / "table.csv", newline="", encoding="utf-8") as file:
        assert float(next(csv.DictReader(file))["Dice mean (%)"]) == pytest.approx(moving)
    assert "<svg" in (tmp_path / "out" / "table.svg").read_text(encoding="utf-8")
    assert steps[0] == ("phantom 0: Moving", 0.0) and len(steps) == 8


def test_table_has_every_row_of_the_paper() -> None:
    paper = ["Moving", "SyN(MI)", "VM", "VM(concat)", "Ours(average)", "Ours(gated)"]
    assert list(ROWS)[:6] == paper
    assert all(f"{name} + refinement" in ROWS for name in paper[2:])


def test_means_and_organs_of_a_table() -> None:
    def row(method: str, case: str, label: str, dice: float | None) -> dict:
        return {"method": method, "case": case, "label": label, "dice": dice, "asd_mm": 1.0, "hd95_mm": 2.0,
                "folding_percent": 0.0, "tre_mm": None, "seconds": 3.0, "used": 1}  # fmt: skip

    rows = [row(m, c, label, v) for m, v in (("a", 0.5), ("b", 0.75)) for c in ("1", "2") for label in ("liver", "")]
    table = Table(rows, ("liver", "spleen"), {})
    first, second = table.rows()
    assert table.organs == ["liver"]
    assert (first["Dice liver (%)"], second["Dice liver (%)"]) == (50.0, 75.0)
    assert first["p"] == 0.5 and second["p"] is None
    assert first["TRE (mm)"] is None and "–" in table.text()
    json.dumps(first)


def test_columns_that_rest_on_fewer_cases_say_so() -> None:
    def row(method: str, case: str, label: str, dice: float | None, asd: float | None = None) -> dict:
        return {"method": method, "case": case, "label": label, "dice": dice, "asd_mm": asd, "hd95_mm": None,
                "folding_percent": 0.0, "tre_mm": None, "seconds": 3.0, "used": 1}  # fmt: skip

    rows = []
    for method in "ab":
        rows += [row(method, case, "", 0.5) for case in "123"]
        rows += [row(method, case, "liver", 0.5, 1.5 if method + case != "b2" else None) for case in "12"]
        rows.append(row(method, "1", "spleen", 0.25, 1.25 if method == "a" else None))
    table = Table(rows, ("liver", "spleen"), {})
    first, last, *_, notes = table.text().splitlines()[1:6]
    assert "25.00" in first and "1.25" in first and "25.00 ±" not in first and "1.25 ±" not in first
    assert first.count("± 0.00") == 5  # liver twice, mean Dice, folding, time
    assert last.count("± 0.00") == 4
    assert notes == (
        "On fewer than 3 cases rest: Dice liver (%) on 2, Dice spleen (%) on 1, ASD liver (mm) on 1 to 2, ASD spleen "
        "(mm) on 1."
    )
    spread = next(csv.DictReader(table.csv().splitlines()))
    assert spread["Dice spleen (%) s.d."] == spread["ASD spleen (mm) s.d."] == "" != spread["Dice liver (%) s.d."]
    single = Table([row("a", "1", "", 0.5)], (), {}).text()
    assert "±" not in single and "fewer" not in single


@pytest.mark.parametrize("change, words", [
    ({"rows": ("Elastix",)}, "Unknown rows Elastix"),
    ({"cases": 0}, "at least 1"),
    ({"first_seed": 900_000}, "for training and validation"),
    ({"weights": "nowhere"}, "does not exist"),
])  # fmt: skip
def test_bad_settings_are_named(tmp_path: Path, change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        EvaluationSettings(tmp_path, **change)


@pytest.mark.parametrize("initialization", ["none", "rigid", "affine"])
def test_alignment_reaches_the_registration(tmp_path: Path, monkeypatch, initialization: str) -> None:
    from GradientGuidedRegistrationLib.registration import pipeline

    class Reached(Exception):
        pass

    def register(fixed, moving, settings):
        raise Reached(settings.initialization)

    monkeypatch.setattr(pipeline, "register", register)
    with pytest.raises(Reached, match=initialization):
        evaluate(EvaluationSettings(tmp_path, rows=("Refinement alone",), initialization=initialization, **SMALL))


def test_no_row_at_all(tmp_path: Path, folding_weights: Path) -> None:
    with pytest.raises(InputError, match="No row can be computed: VM: no weights"):
        evaluate(EvaluationSettings(tmp_path / "out", rows=("VM",), weights=folding_weights.parent, **SMALL))


def own_pair(folder: Path, values: dict[int, int], stored: str = "LPS", spacing: float = 4.0) -> None:
    """A phantom with some labels renamed and its segmentations on a grid of their own."""
    images = phantom_images(0, (28, 28, 28), 4.0)
    for name in ("fixed", "moving"):
        write_image(images[name], folder / f"{name}.nii.gz")
        labels = sitk.ChangeLabel(images[f"{name}_labels"], {n: values.get(n, 0) for n in range(1, 15)})
        grid = covering_grid(images[name], spacing)
        write_image(
            sitk.DICOMOrient(grid.resample(labels, interpolator=sitk.sitkNearestNeighbor), stored),
            folder / f"{name}_labels.nii.gz",
        )


def test_labels_on_another_grid_are_measured_on_the_images(tmp_path: Path) -> None:
    own_pair(tmp_path / "same" / "a", {1: 1, 2: 2})
    own_pair(tmp_path / "other" / "a", {1: 1, 2: 2}, "PIR", 1.3)
    dice, asd = [], []
    for folder in ("same", "other"):
        table = evaluate(EvaluationSettings(tmp_path / folder, data=tmp_path / folder, rows=("Moving",)))
        dice += table.values("Moving", "", "dice")
        asd += table.values("Moving", "", "asd_mm")
    assert dice[1] == pytest.approx(dice[0], abs=1.5) and asd[1] == pytest.approx(asd[0], abs=0.3)


def test_columns_go_by_label_value_over_all_cases(tmp_path: Path) -> None:
    own_pair(tmp_path / "data" / "a", {1: 10, 2: 2, 3: 30})
    own_pair(tmp_path / "data" / "b", {1: 9, 2: 2})
    table = evaluate(EvaluationSettings(tmp_path / "out", data=tmp_path / "data", rows=("Moving",)))
    assert "Left out" not in table.text()
    assert table.organs == ["label 2", "label 9", "label 10", "label 30"]
    assert list(table.columns())[:4] == [f"Dice label {value} (%)" for value in (2, 9, 10, 30)]


def test_own_pairs_need_segmentations(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("fixed", "moving"):
        (tmp_path / "a" / f"{name}.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="there are none for a"):
        evaluate(EvaluationSettings(tmp_path / "out", data=tmp_path))


def test_all_that_is_wrong_with_own_pairs_is_told_before_anything_is_written(tmp_path: Path) -> None:
    for name in "abc":
        own_pair(tmp_path / "data" / name, {1: 1, 2: 2})
    damaged = tmp_path / "data" / "b" / "moving.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    labels = tmp_path / "data" / "c" / "moving_labels.nii.gz"
    write_image(read_labels(labels) == 1, labels)
    with pytest.raises(InputError) as error:
        evaluate(EvaluationSettings(tmp_path / "out", data=tmp_path / "data", rows=("Moving",)))
    told = str(error.value)
    assert "- b: The moving image" in told and str(damaged) in told and "- c: The segmentations have" in told
    assert "a:" not in told.replace("data", "") and not (tmp_path / "out").exists()


def test_organs_that_no_case_has_are_named(tmp_path: Path) -> None:
    own_pair(tmp_path / "data" / "a", {1: 1, 2: 2})
    settings = {"data": tmp_path / "data", "rows": ("Moving",)}
    table = evaluate(EvaluationSettings(tmp_path / "one", organs=("label 2", "label 9"), **settings))
    assert table.organs == ["label 2"] and "label 9: no case has such a label" in table.text()
    table = evaluate(EvaluationSettings(tmp_path / "all", organs=("liver",), **settings))
    assert table.organs == ["label 1", "label 2"]


@pytest.mark.parametrize(
    ("splits", "compared"),
    [(("training", "validation", "test"), ["line 4"]), (("training", "validation", ""), ["line 3", "line 4"]),
     (("", "", ""), ["line 2", "line 3", "line 4"])],
)  # fmt: skip
def test_pairs_for_training_are_not_compared(tmp_path: Path, splits, compared) -> None:
    own_pair(tmp_path / "a", {1: 1, 2: 2})
    names = ("fixed", "moving", "fixed_labels", "moving_labels")
    for copy in "bc":
        (tmp_path / copy).symlink_to(tmp_path / "a")
    rows = [",".join([*(f"{where}/{name}.nii.gz" for name in names), split]) for where, split in zip("abc", splits)]
    (tmp_path / "pairs.csv").write_text("\n".join([",".join(names) + ",split", *rows]))
    settings = EvaluationSettings(tmp_path / "out", data=tmp_path / "pairs.csv", rows=("Moving",))
    table = evaluate(settings)
    assert table.cases == compared
    free = [name for name, split in zip(("line 2", "line 3", "line 4"), splits) if not split]
    trained = [
        case.name for case in read_cases(tmp_path / "pairs.csv") if case.name in free and case.split == "training"
    ]
    note = (
        f"({', '.join(free)}): all of them are compared. train.py, given the same data, trains on {len(trained)} pair"
    )
    assert (note in table.text()) == bool(free) and ("say nothing about others" in table.text()) == bool(free)


def test_split_of_a_training_is_that_of_its_comparison(tmp_path: Path) -> None:
    """What a run has written into its folder keeps what it was trained on out of the table."""
    for name in "ab":
        own_pair(tmp_path / "data" / name, {1: 1, 2: 2})
    cases = [
        replace(case, split=split) for case, split in zip(read_cases(tmp_path / "data"), ("training", "validation"))
    ]
    write_pairs(cases, tmp_path / "run" / "pairs.csv")
    table = evaluate(EvaluationSettings(tmp_path / "out", data=tmp_path / "run" / "pairs.csv", rows=("Moving",)))
    assert table.cases == ["b"] and "No split" not in table.text()


def test_pairs_that_are_all_for_training_are_refused(tmp_path: Path) -> None:
    own_pair(tmp_path / "training" / "a", {1: 1, 2: 2})
    with pytest.raises(InputError, match="are for training"):
        evaluate(EvaluationSettings(tmp_path / "out", data=tmp_path, rows=("Moving",)))


def test_weights_that_cannot_be_used_are_told_before_the_first_case(tmp_path: Path, monkeypatch) -> None:
    for name in ("gated", "average"):
        (tmp_path / f"{name}.pt").write_bytes((MODELS / "vm.pt").read_bytes())
    monkeypatch.setattr(run, "measure", lambda *_: pytest.fail("a case was measured"))
    rows = ("Moving", "Ours(average)", "Ours(gated)", "Ours(gated) + refinement")
    with pytest.raises(InputError) as error:
        evaluate(EvaluationSettings(tmp_path / "out", rows=rows, weights=tmp_path, **SMALL))
    told = str(error.value)
    assert "gated.pt holds weights of the network 'vm', not of 'gated'" in told
    assert "average.pt holds weights of the network 'vm'" in told and told.count("\n- ") == 2
    assert not (tmp_path / "out").exists()


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    """That of a run holds best.pt, and all rows would be left out."""
    (tmp_path / "best.pt").write_bytes((MODELS / "gated.pt").read_bytes())
    with pytest.raises(InputError, match=r"holds none of gated.pt, average.pt, .*link best.pt of a run to .* gated.pt"):
        EvaluationSettings(tmp_path / "out", weights=tmp_path)
    (tmp_path / "gated.pt").symlink_to("best.pt")
    assert EvaluationSettings(tmp_path / "out", weights=tmp_path).weights == tmp_path
