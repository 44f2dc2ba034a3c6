"""register.py as a user runs it: files in, files out, one clear line for everything that is wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.registration.models import MODELS
from GradientGuidedRegistrationLib.training.phantom import phantom_images


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Path:
    """A folder with a small pair and its segmentations."""
    folder = tmp_path_factory.mktemp("Fall ü 1")
    images = phantom_images(4, shape=(40, 40, 44), spacing=4.0)
    for name in ("fixed", "moving", "fixed_labels", "moving_labels"):
        sitk.WriteImage(images[name], str(folder / f"{name}.nii.gz"))
    return folder


@pytest.fixture(scope="module")
def register_main(_host, scripts):
    """`main` of register.py, in this process."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("register_script", scripts / "register.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.main


def pair(case: Path) -> list[str]:
    return ["--fixed", str(case / "fixed.nii.gz"), "--moving", str(case / "moving.nii.gz")]


FAST = ["--refine", "3", "--no-network", "--quiet"]


def keys_of(metrics: dict) -> list[str]:
    """The names of all figures, but for those of labels, steps, settings and packages."""
    keys = []
    for key, value in metrics.items():
        keys += [] if key.isdigit() else [key]
        if isinstance(value, dict) and key not in ("seconds", "settings", "versions"):
            keys += keys_of(value)
    return keys


def test_everything_at_once(case, tmp_path, scripts, repository):
    """In a process of its own, so that status, output and files are what a user gets."""
    out = tmp_path / "out ü"
    done = subprocess.run(
        [sys.executable, str(scripts / "register.py"), *pair(case),
         "--fixed-segmentation", str(case / "fixed_labels.nii.gz"),
         "--moving-segmentation", str(case / "moving_labels.nii.gz"), "--transform", str(out / "t.h5"),
         "--inverse-transform", str(out / "i.nrrd"), "--warped", str(out / "w.nii.gz"),
         "--warped-segmentation", str(out / "s.nii.gz"), "--metrics", str(out / "m.json"), "--report", str(out / "r"),
         "--no-network", "--refine", "20"],
        capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    metrics = json.loads((out / "m.json").read_text(encoding="utf-8"))
    assert {"mutual", "folding", "inverse", "verdict"} <= {line.split()[0] for line in done.stdout.splitlines()}
    assert all(reason in done.stdout for reason in metrics["reasons"])
    assert 0.3 < metrics["mean"]["before"]["dice"] < 1 and 0.3 < metrics["mean"]["after"]["dice"] < 1
    assert metrics["mutual_information"]["after"] > metrics["mutual_information"]["before"]
    for row in metrics["labels"].values():
        assert {"dice", "asd_mm", "hd95_mm"} <= set(row["before"]) & set(row["after"])
    assert metrics["folding_percent"] == 0
    assert metrics["inverse_residual_mm"]["p99"] < 0.5
    assert {"jacobian_min", "sd_log_jacobian", "displacement_mm", "seconds", "peak_memory_mb", "device", "versions",
            "settings", "seed"} <= set(metrics)  # fmt: skip
    explained = (repository / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert [key for key in keys_of(metrics) if f"`{key}`" not in explained] == []
    fixed, moving = sitk.ReadImage(str(case / "fixed.nii.gz")), sitk.ReadImage(str(case / "moving.nii.gz"))
    warped = sitk.ReadImage(str(out / "w.nii.gz"))
    assert warped.GetSize() == fixed.GetSize() and np.allclose(warped.GetOrigin(), fixed.GetOrigin(), atol=1e-4)
    lowest = float(sitk.GetArrayViewFromImage(moving).min())
    again = sitk.Resample(moving, fixed, sitk.ReadTransform(str(out / "t.h5")), sitk.sitkLinear, lowest)
    assert np.allclose(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(warped), atol=0.5)
    report = (out / "r" / "report.html").read_text(encoding="utf-8")
    assert "Dice" in report and str(case) not in report
    assert not list(out.rglob(".writing-*"))


def refused(main, capsys, arguments: list[str], *words: str) -> None:
    status = main(arguments)
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == 2, lines
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines


def test_missing_file(register_main, capsys, case, tmp_path):
    arguments = ["--fixed", "nowhere.nii.gz", *pair(case)[2:], "--transform", str(tmp_path / "t.h5")]
    refused(register_main, capsys, arguments,
            "fixed", "nowhere.nii.gz", "does not exist")  # fmt: skip


def bad_image(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.nii.gz"
    if kind == "directory":
        (folder / "directory").mkdir()
        return folder / "directory"
    if kind == "text":
        path.write_text("no image")
        return path
    if kind == "NaN":  # ITK turns NaN into zero when it writes NIfTI, so this one is NRRD
        sitk.WriteImage(sitk.Log(sitk.Image((20, 20, 20), sitk.sitkFloat32) - 1), str(folder / "NaN.nrrd"))
        return folder / "NaN.nrrd"
    image = {
        "2D": lambda: sitk.Image((30, 30), sitk.sitkFloat32) + 1,
        "4D": lambda: sitk.Image((20, 20, 20, 2), sitk.sitkFloat32),
        "RGB": lambda: sitk.Image((20, 20, 20), sitk.sitkVectorUInt8, 3),
        "complex": lambda: sitk.Image((20, 20, 20), sitk.sitkComplexFloat32),
        "constant": lambda: sitk.Image((20, 20, 20), sitk.sitkFloat32) + 3,
        "thin": lambda: sitk.GaussianSource(sitk.sitkFloat32, (40, 40, 12)),
        "truncated": lambda: sitk.GaussianSource(sitk.sitkFloat32, (40, 40, 40)),
    }[kind]()
    sitk.WriteImage(image, str(path))
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    return path


@pytest.mark.parametrize(
    ("kind", "word"),
    [("directory", "DICOM"), ("text", "cannot be read"), ("truncated", "damaged"), ("2D", "2 dimensions"),
     ("4D", "4 dimensions"), ("RGB", "one real number"), ("complex", "one real number"), ("NaN", "NaN"),
     ("constant", "constant"), ("thin", "at least 16")],
)  # fmt: skip
@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_bad_images(register_main, capsys, case, tmp_path, kind, word, which):
    bad, out = bad_image(tmp_path, kind), tmp_path / "t.h5"
    refused(
        register_main, capsys, [*pair(case), f"--{which}", str(bad), "--transform", str(out)], which, str(bad), word
    )
    assert not out.exists()


def test_no_overlap(register_main, capsys, case, tmp_path):
    image = sitk.ReadImage(str(case / "moving.nii.gz"))
    image.SetOrigin((3000.0, 3000.0, 3000.0))
    sitk.WriteImage(image, str(tmp_path / "far.nii.gz"))
    for initialization in ("none", "rigid"):
        refused(register_main, capsys, [*pair(case)[:2], "--moving", str(tmp_path / "far.nii.gz"), "--transform",
                str(tmp_path / "t.h5"), "--initialization", initialization, "--quiet"], "do not overlap")  # fmt: skip


def test_segmentation_on_another_grid_is_resampled(register_main, case, tmp_path):
    labels = sitk.ReadImage(str(case / "moving_labels.nii.gz"))
    fine = sitk.Resample(labels, [2 * n for n in labels.GetSize()], sitk.Transform(), sitk.sitkNearestNeighbor,
                         labels.GetOrigin(), [s / 2 for s in labels.GetSpacing()])  # fmt: skip
    sitk.WriteImage(fine, str(tmp_path / "fine.nrrd"))
    assert register_main([*pair(case), *FAST, "--fixed-segmentation", str(case / "fixed_labels.nii.gz"),
                          "--moving-segmentation", str(tmp_path / "fine.nrrd"),
                          "--metrics", str(tmp_path / "m.json")]) == 0  # fmt: skip
    assert json.loads((tmp_path / "m.json").read_text())["mean"]["before"]["dice"] > 0.3


def test_outputs_that_cannot_be(register_main, capsys, case, tmp_path):
    (tmp_path / "file").write_text("keep me")
    before = (case / "moving.nii.gz").read_bytes()
    refused(register_main, capsys, [*pair(case), "--warped", str(tmp_path / "file" / "w.nrrd")], "cannot be written")
    refused(register_main, capsys, [*pair(case), "--warped", str(case / "moving.nii.gz")], "also the moving")
    (tmp_path / "folder").symlink_to(case)
    same = tmp_path / "folder" / ".." / case.name / "moving.nii.gz"
    for option in ("--transform", "--inverse-transform", "--warped"):
        refused(register_main, capsys, [*pair(case), option, str(same)], "also the moving")
    (tmp_path / "folder").unlink()
    long = tmp_path / ("n" * 252 + ".nrrd")
    for option, path in (("--warped", long), ("--transform", tmp_path / ("n" * 300) / "t.h5"), ("--report", long)):
        refused(register_main, capsys, [*pair(case), option, str(path)], "too long", "255")
    refused(register_main, capsys, [*pair(case), "--transform", str(tmp_path / "a.nrrd"), "--warped",
            str(tmp_path / "a.nrrd")], "name of its own")  # fmt: skip
    refused(register_main, capsys, [*pair(case), "--transform", str(tmp_path / "t.tfm")], "unknown file type", ".h5")
    refused(register_main, capsys, [*pair(case), "--report", str(tmp_path / "file")], "is a file")
    refused(register_main, capsys, pair(case), "Nothing would be written")
    refused(
        register_main, capsys, [*pair(case), "--warped-segmentation", str(tmp_path / "s.nrrd")], "moving segmentation"
    )
    assert (tmp_path / "file").read_text() == "keep me" and (case / "moving.nii.gz").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--device", "tpu"], ["device", "tpu"]), (["--weights", "none.pt"], ["weights", "none.pt"]),
     (["--spacing", "0"], ["spacing"]), (["--initial-transform", "none.h5"], ["initial transform", "none.h5"])],
)  # fmt: skip
def test_bad_options(register_main, capsys, case, tmp_path, options, words):
    refused(register_main, capsys, [*pair(case), "--transform", str(tmp_path / "t.h5"), *options], *words)


def test_weights_of_another_method_are_refused(register_main, capsys, case, tmp_path, folding_weights):
    command = [*pair(case), "--transform", str(tmp_path / "t.h5"), "--method", "vm", "--weights", str(folding_weights)]
    refused(register_main, capsys, command, "weights of the network 'gated', not of 'vm'")


def test_without_a_method_the_weights_decide(register_main, case, tmp_path):
    command = [*pair(case), "--weights", str(MODELS / "vm.pt"), "--metrics", str(tmp_path / "m.json")]
    assert register_main([*command, "--transform", str(tmp_path / "t.h5"), "--refine", "0", "--quiet"]) == 0
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))["network"] == "vm"


def test_weights_without_a_network_are_refused(register_main, capsys, case, tmp_path):
    command = [*pair(case), "--transform", str(tmp_path / "t.h5"), "--no-network", "--weights", "mine.pt"]
    refused(register_main, capsys, command, "no use for --weights mine.pt")


def test_unknown_options_are_not_ignored(register_main, case):
    for wrong in (["--speed", "fast"], ["--refine", "-1"], ["--initialization", "magic"]):
        with pytest.raises(SystemExit) as stop:
            register_main([*pair(case), *wrong])
        assert stop.value.code == 2


def test_initial_transform(register_main, case, tmp_path):
    shift = sitk.TranslationTransform(3, (2.0, 0.0, 0.0))
    sitk.WriteTransform(shift, str(tmp_path / "shift.h5"))
    out = tmp_path / "t.nrrd"
    start = ["--initial-transform", str(tmp_path / "shift.h5"), "--initialization", "none", "--refine", "0"]
    assert register_main([*pair(case), *FAST, *start, "--transform", str(out)]) == 0
    center = sitk.ReadImage(str(case / "fixed.nii.gz")).TransformContinuousIndexToPhysicalPoint((20.0, 20.0, 20.0))
    field = sitk.DisplacementFieldTransform(sitk.ReadImage(str(out), sitk.sitkVectorFloat64))
    assert np.allclose(np.subtract(field.TransformPoint(center), center), (2, 0, 0), atol=1e-3)


def test_batch(register_main, capsys, case, tmp_path):
    table = case / "cases.csv"
    (case / "cut.nii.gz").write_bytes((case / "moving.nii.gz").read_bytes()[:-50])
    table.write_text("name,fixed,moving\na,fixed.nii.gz,moving.nii.gz\nb,fixed.nii.gz,cut.nii.gz\n", encoding="utf-8")
    out = tmp_path / "{name}"
    status = register_main(["--batch", str(table), *FAST, "--metrics", f"{out}/m.json", "--report", f"{out}/report"])
    errors = capsys.readouterr().err
    assert status == 2 and "b: " in errors and "cut.nii.gz" in errors and "1 of 2" in errors
    assert (tmp_path / "a" / "m.json").exists() and not (tmp_path / "b").exists()
    assert "cut.nii.gz" in (tmp_path / "overview.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "word"),
    [("name,fixed,moving\n", "no case"), ("name,fixed,moving\n../a,f,m\n", "Line 2"), ("name,fixed\na,f\n", "moving"),
     ("name,fixed,moving,magic\na,f,m,x\n", "magic"), ("name,fixed,moving\na,f\n", "number of columns"),
     ("name,fixed,moving\na,f,m\nA,f,m\n", "Line 3"), ("name,fixed,moving,warped\na,f,m,/tmp/x.nrrd\n", "outputs"),
     ("fixed,moving\nf,m\n", "column name"), ("name,fixed,moving\n\n\n../a,f,m\n", "Line 4"),
     ("name,fixed,moving,\na,f,m,note\n", "no name for column 4")],
)  # fmt: skip
def test_bad_tables(register_main, capsys, tmp_path, content, word):
    (tmp_path / "cases.csv").write_text(content)
    command = ["--batch", str(tmp_path / "cases.csv"), "--metrics", f"{tmp_path}/{{name}}.json"]
    assert register_main(command) == 2
    told = capsys.readouterr().err
    assert "cases.csv" in told and word in told and "Traceback" not in told


def test_all_that_is_wrong_with_a_table_is_told_before_the_first_case(register_main, capsys, case, tmp_path):
    for name in ("fixed", "moving"):
        (tmp_path / f"{name}.nii.gz").write_bytes((case / f"{name}.nii.gz").read_bytes())
    (tmp_path / "c.mha").symlink_to("moving.nii.gz")
    (tmp_path / "d.mha").mkdir()
    table = tmp_path / "cases.csv"
    table.write_text(
        "name,fixed,moving\ngood,fixed.nii.gz,moving.nii.gz\na,none1.nii.gz,moving.nii.gz\nb,fixed.nii.gz,none2.nii.gz\n"
        "c,fixed.nii.gz,moving.nii.gz\nd,fixed.nii.gz,moving.nii.gz\ne,fixed.nii.gz,\n../f,fixed.nii.gz,moving.nii.gz\n"
    )
    before = sorted(tmp_path.iterdir())
    assert register_main(["--batch", str(table), *FAST, "--warped", f"{tmp_path}/{{name}}.mha",
                          "--metrics", f"{tmp_path}/{{name}}/../m.json"]) == 2  # fmt: skip
    told = capsys.readouterr().err
    for words in (
        "a: The fixed image", "none1.nii.gz", "b: The moving image", "none2.nii.gz", "c: The warped image",
        "is also the moving image", "d: The warped image", "is a folder", "e: No moving", "Line 8",
        "is also the metrics of good",
    ):  # fmt: skip
        assert words in told, (words, told)
    assert sorted(tmp_path.iterdir()) == before


def test_batch_outputs_need_a_name(register_main, capsys, tmp_path):
    (tmp_path / "cases.csv").write_text("name,fixed,moving\na,f,m\n")
    refused(register_main, capsys, ["--batch", str(tmp_path / "cases.csv"), "--metrics", "m.json"], "{name}")


def test_batch_inputs_are_columns(register_main, capsys, tmp_path):
    """Else a mask that was asked for would be left out without a word."""
    (tmp_path / "cases.csv").write_text("name,fixed,moving\na,f,m\n")
    command = ["--batch", str(tmp_path / "cases.csv"), "--fixed-mask", "mask.nrrd", "--label-names", "names.json"]
    refused(register_main, capsys, command, "columns of the table", "--fixed-mask, --label-names")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_interruption_is_one_line_and_leaves_nothing(case, tmp_path, scripts, number):
    """At any time once Python has begun, also while Slicer's core is imported, where it would end in a crash."""
    command = [sys.executable, str(scripts / "register.py"), *pair(case), "--no-network", "--quiet"]
    for seconds in (1.0, 1.8, 3.6):  # a busy machine takes half a second to begin
        process = subprocess.Popen(
            [*command, "--refine", "3000", "--transform", str(tmp_path / "o" / "t.h5")], stderr=subprocess.PIPE,
            text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        time.sleep(seconds)
        process.send_signal(getattr(signal, number))
        assert process.communicate(timeout=60)[1] == "interrupted; nothing was written\n"
        assert process.returncode == 130 and not (tmp_path / "o").exists()


def failing(*_args, **_options):
    raise RuntimeError("no renderer")


def test_the_results_are_there_when_the_report_fails(register_main, capsys, case, tmp_path, monkeypatch):
    monkeypatch.setattr("GradientGuidedRegistrationLib.figures.write_report", failing)
    outputs = {option: tmp_path / name for option, name in (
        ("--transform", "t.h5"), ("--warped", "w.mha"), ("--metrics", "m.json"), ("--report", "r"))}  # fmt: skip
    command = [text for option, path in outputs.items() for text in (option, str(path))]
    assert register_main([*pair(case), *FAST, *command]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "report" in told and "no renderer" in told and str(tmp_path / "t.h5") in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.json", "t.h5", "w.mha"]
    assert sitk.ReadTransform(str(tmp_path / "t.h5")).GetDimension() == 3


def test_an_interruption_while_writing_says_what_is_there(register_main, capsys, case, tmp_path, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("GradientGuidedRegistrationLib.job.write_image", interrupt)
    command = ["--transform", str(tmp_path / "t.h5"), "--warped", str(tmp_path / "w.mha")]
    assert register_main([*pair(case), *FAST, *command]) == 130
    assert capsys.readouterr().err == f"interrupted; written: {tmp_path / 't.h5'}\n"


def test_label_names_that_cannot_be_written(register_main, capsys, case, tmp_path):
    (tmp_path / "names.json").write_text('{"1": "\\ud800"}')
    command = [*pair(case), *FAST, "--label-names", str(tmp_path / "names.json"), "--metrics", str(tmp_path / "m.json")]
    refused(register_main, capsys, command, "names.json cannot be read", "give a JSON object of names")


@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_a_segmentation_of_another_image_is_refused(register_main, capsys, case, tmp_path, which):
    labels = sitk.ReadImage(str(case / f"{which}_labels.nii.gz"))
    away = sitk.Image(labels)
    away.SetOrigin((5000.0, 0.0, 0.0))
    for number, image in enumerate((away, labels * 0)):
        path = tmp_path / f"{number}.nrrd"
        sitk.WriteImage(image, str(path))
        command = [*pair(case), *FAST, f"--{which}-segmentation", str(path), "--metrics", str(tmp_path / "m.json")]
        refused(register_main, capsys, command, f"{which} segmentation", str(path), "covers nothing of its image")
    assert not (tmp_path / "m.json").exists()


def test_files_that_no_report_has_written_are_not_replaced(register_main, capsys, case, tmp_path):
    (tmp_path / "report.html").write_text("a user's")
    command = [*pair(case), *FAST, "--transform", str(tmp_path / "t.h5"), "--report", str(tmp_path)]
    refused(register_main, capsys, command, str(tmp_path), "no report has written", "report.html")
    table = tmp_path / "cases.csv"
    table.write_text(f"name,fixed,moving\na,{case / 'fixed.nii.gz'},{case / 'moving.nii.gz'}\n", encoding="utf-8")
    (tmp_path / "overview.html").write_text("a user's")
    command = ["--batch", str(table), *FAST, "--report", str(tmp_path / "{name}")]
    refused(register_main, capsys, command, str(tmp_path), "no report has written", "overview.html")
    assert len(list(tmp_path.iterdir())) == 3 and (tmp_path / "report.html").read_text() == "a user's"
