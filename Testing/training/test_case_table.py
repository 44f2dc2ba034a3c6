"""Tables and folders of own pairs: what belongs together, and everything that is wrong told at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.training import train
from GradientGuidedRegistrationLib.training.case_table import read_cases
from GradientGuidedRegistrationLib.training.split import tell_split, write_pairs


def files(folder: Path, *names: str) -> Path:
    """A folder with files that are there and are not looked into."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def table(path: Path, *rows: str, columns: str = "fixed,moving,split,name") -> Path:
    """A table of files that are there and are not looked into."""
    files(path, *(name for row in rows for name in row.split(",")[:2] if name))
    (path / "pairs.csv").write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return path / "pairs.csv"


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no cases"):
        read_cases(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_cases(tmp_path / "nowhere")


def test_missing_columns_are_listed_at_once(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("mr,ct\na.nii,b.nii\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_cases(table)
    assert "column fixed is missing (columns found: mr, ct)" in str(error.value)
    assert "column moving is missing" in str(error.value)


def test_missing_files_are_listed_at_once(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("fixed,moving,split\na.nii,b.nii,\nc.nii,,holiday\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_cases(table)
    for words in ("line 2: fixed a.nii does not exist", "line 2: moving b.nii does not exist",
                  "line 3: fixed c.nii does not exist", "line 3: there is no moving image",
                  "line 3: split 'holiday'"):  # fmt: skip
        assert words in str(error.value)


def test_what_would_be_left_out_without_a_word_is_refused(tmp_path: Path) -> None:
    """A column that is misspelt, a cell too many, an image with itself, a folder of other names."""
    with pytest.raises(InputError) as error:
        read_cases(table(tmp_path, "a,b,training", "c,c,training", "e,f,test,x", columns="fixed,moving,Split"))
    for words in ("unknown column Split; known are fixed,", "line 3: fixed and moving are the same file",
                  "line 4: more cells"):  # fmt: skip
        assert words in str(error.value)
    files(tmp_path / "folder", "p0/fixed.nii", "p0/moving.nii", "p1/t1.nii", "p1/ct1.nii", "notes/read.txt")
    with pytest.raises(InputError, match=r"p1: no file is named fixed\.\* or moving\.\*; found: ct1.nii, t1.nii$"):
        read_cases(tmp_path / "folder")


def test_every_misspelt_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 3: split 'train' is not one of training.*\n.*line 4: split 'Test'"):
        read_cases(table(tmp_path, "a,b,training,", "c,d,train,", "e,f,Test,"))


@pytest.mark.parametrize("splits", [("validation", "test"), ("test", "test"), ("validation", "validation")])
def test_no_pair_for_training_is_refused_before_anything_is_written(small, tmp_path: Path, splits) -> None:
    data = table(tmp_path / "data", *(f"a{i},b{i},{split}," for i, split in enumerate(splits)))
    with pytest.raises(InputError, match="no pair for training .*'training'"):
        train(small(data=data))
    assert not small().output.exists()
    assert [case.split for case in read_cases(data)] == list(splits)  # enough to compare methods on


def test_without_splits_something_is_left_to_train_on(tmp_path: Path) -> None:
    for number in range(20):
        data = table(tmp_path / str(number), f"a{number},b,,")
        assert [case.split for case in read_cases(data)] == ["training"]
    splits = [case.split for case in read_cases(table(tmp_path, *(f"a{i},b{i},," for i in range(20))))]
    assert 1 <= splits.count("validation") < 10


def test_pairs_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    rows = ("a,b,training,", "c,d,training,p", "./a,b,validation,", "e,f,test,p")
    with pytest.raises(InputError) as error:
        read_cases(table(tmp_path, *rows))
    assert "line 4: fixed and moving are those of line 2" in str(error.value)
    assert "line 5: name 'p' is that of line 3" in str(error.value)


def test_case_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    files(tmp_path, *(f"{case}/{name}.nii" for case in ("training/1", "training/2", "test/1") for name in ("mr", "ct")))
    assert sorted(case.name for case in read_cases(tmp_path)) == ["2", "test/1", "training/1"]


def test_one_volume_only(tmp_path: Path) -> None:
    files(tmp_path, "a/mr.nii.gz")
    with pytest.raises(InputError, match="a: there is no moving image; a pair needs both"):
        read_cases(tmp_path)


def test_one_segmentation_only(tmp_path: Path) -> None:
    files(tmp_path, "a/fixed.nii.gz", "a/moving.nii.gz", "a/fixed_labels.nii.gz")
    with pytest.raises(InputError, match="only fixed_labels is given; give both"):
        read_cases(tmp_path)


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    """Blank lines count, and so do those within a cell."""
    with pytest.raises(InputError) as error:
        read_cases(table(tmp_path, "a,b,,", "", "", "c,d,train,", "", 'e,f,,"two\nlines"', "g,h,Test,"))
    told = str(error.value)
    assert "line 5: split 'train'" in told and "line 9: split 'Test'" in told and "line 3" not in told
    assert [case.name for case in read_cases(table(tmp_path, "", "a,b,,"))] == ["line 3"]


def test_a_column_without_a_name_is_passed_over_while_it_is_empty(tmp_path: Path) -> None:
    """Spreadsheets leave them behind."""
    header = "fixed,moving,,split,,"
    (case,) = read_cases(table(tmp_path, "a,b,,training,,", columns=header))
    assert (case.fixed.name, case.moving.name, case.split) == ("a", "b", "training")
    with pytest.raises(InputError, match="no name for column 5, in which there is something in line 3; name"):
        read_cases(table(tmp_path, "a,b,,,,", "c,d,,,note,", columns=header))


def test_rows_of_commas_only_are_passed_over(tmp_path: Path) -> None:
    """Spreadsheets leave these behind, too."""
    (case,) = read_cases(table(tmp_path, ",,,", "a,b,training,", ",,,,,", "   "))
    assert case.name == "line 3"


@pytest.mark.parametrize("separator, told", [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_than_commas_are_told(tmp_path: Path, separator: str, told: str) -> None:
    path = table(tmp_path, "a,b,training,")
    path.write_text(path.read_text(encoding="utf-8").replace(",", separator), encoding="utf-8")
    with pytest.raises(InputError, match=f"separated by {told}; save it as CSV with commas"):
        read_cases(path)


PAIR = ("mr.nii", "ct.nii")


def test_case_folders_beside_those_of_the_splits_are_told(tmp_path: Path) -> None:
    files(tmp_path, *(f"{case}/{name}" for case in ("training/1", "lost", "val/2", "test") for name in PAIR))
    files(tmp_path, "training/site/3/mr.nii", "notes/read.txt")
    with pytest.raises(InputError) as error:
        read_cases(tmp_path)
    told = str(error.value)
    for name in ("lost", "val", "test"):
        assert f"- {name}: lies beside training; move it into" in told
    assert "- training/site: holds images in folders only (3)" in told and told.count("\n- ") == 4


def test_a_case_may_be_called_as_a_split(tmp_path: Path) -> None:
    files(tmp_path, *(f"{case}/{name}" for case in ("test", "1") for name in PAIR))
    (tmp_path / "validation").mkdir()
    assert [case.name for case in read_cases(tmp_path)] == ["1", "test"]
    assert not any(case.split_given for case in read_cases(tmp_path))


def test_images_of_unknown_names_are_told(tmp_path: Path) -> None:
    """Segmentations that are called otherwise would be left out without a word."""
    files(tmp_path, *(f"a/{name}" for name in (*PAIR, "labels_fixed.nii.gz", "Ct_Labels.nii", "._mr.nii", "x.json")))
    files(tmp_path, *(f"b/{name}" for name in (*PAIR, "truth.nii.gz", "ct_seg.nrrd")), "c/mr.nii")
    with pytest.raises(InputError) as error:
        read_cases(tmp_path)
    told = str(error.value)
    assert "- a: unknown Ct_Labels.nii, labels_fixed.nii.gz; known are fixed_labels, " in told
    assert "- b: unknown ct_seg.nrrd; known are" in told and "- c: there is no moving image" in told


def test_all_that_the_reader_takes_is_found(tmp_path: Path) -> None:
    """Detached headers with their voxels beside them, and DICOM folders, also where a case is called as a split."""
    files(tmp_path / "a", "fixed.mhd", "fixed.raw", "moving.nhdr", "moving.raw.gz", "moving.json")
    files(tmp_path / "test", "mr/1", "mr/2", "ct/1.dcm", "mr_labels.mha", "ct_labels.nrrd")
    first, second = read_cases(tmp_path)
    assert (first.fixed.name, first.moving.name, first.fixed_labels) == ("fixed.mhd", "moving.nhdr", None)
    assert (second.fixed, second.moving) == (tmp_path / "test" / "mr", tmp_path / "test" / "ct")
    assert second.name == "test" and second.fixed_labels == tmp_path / "test" / "mr_labels.mha"


def test_what_cannot_be_read_of_a_case_is_told(tmp_path: Path) -> None:
    """A pair or its segmentations in another format would be left out without a word."""
    files(tmp_path, *(f"{case}/{name}" for case in "ab" for name in PAIR), "b/mr_labels.mgz", "b/CT_labels.MGZ")
    files(tmp_path, "c/fixed.mnc", "c/moving.nii", "d/mr.mnc", "d/ct.mnc", "e/SE1/1.dcm", "e/SE2/1.dcm", "f/IM1")
    (tmp_path / "f" / "IM1").write_bytes(bytes(128) + b"DICM")
    files(tmp_path, "notes/read.txt", "results/ct.png", "results/figures/ct.mgz", "a/mr_labels.json")
    with pytest.raises(InputError) as error:
        read_cases(tmp_path)
    told = str(error.value).split("\n- ")[1:]
    types = "known types are .nii.gz, .nii, .nrrd, .nhdr, .mha, .mhd; convert or rename it"
    assert told == [
        f"b: mr_labels.mgz is of a type that is not read, {types}",
        f"b: CT_labels.MGZ is of a type that is not read, {types}",
        f"c: fixed.mnc is of a type that is not read, {types}",
        f"d: mr.mnc is of a type that is not read, {types}",
        f"d: ct.mnc is of a type that is not read, {types}",
        "e: holds DICOM files; put each series into a folder named fixed or moving (or mr, ct) in it",
        "f: holds DICOM files; put each series into a folder named fixed or moving (or mr, ct) in it",
    ]


def test_the_split_of_a_training_is_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = files(tmp_path / "of, ü", *(f"{case}/{name}" for case in map(str, range(20)) for name in PAIR))
    files(data, "3/fixed_labels.nii", "3/moving_labels.nii")
    cases = read_cases(data)
    tell_split(data, cases)
    count = sum(case.split == "training" for case in cases)
    first = ", ".join(case.name for case in cases if case.split == "training")[:8]
    told = capsys.readouterr().err
    assert told.startswith(f"Training on {count} pairs ({first}") and "…), validating on " in told
    assert told.count("\n") == 1 and "for test" not in told
    write_pairs(cases, tmp_path / "run" / "pairs.csv")
    assert read_cases(tmp_path / "run" / "pairs.csv") == [replace(case, split_given=True) for case in cases]
    tell_split(data, [replace(case, split=split) for case, split in zip(cases, ("training", "validation", "test"))])
    assert capsys.readouterr().err == (
        "Training on 1 pair (0), validating on 1 pair (1); left alone for test: 1 pair (10).\n"
    )
