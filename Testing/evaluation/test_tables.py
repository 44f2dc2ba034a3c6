"""Tables of labels before and after a registration."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.evaluation import compare_labels, compare_registered, csv_of, label_values, rows_of
from GradientGuidedRegistrationLib.evaluation.tables import COLUMNS


def image(array, spacing=(1.0, 1.0, 2.0)):
    result = sitk.GetImageFromArray(array)
    result.SetSpacing(spacing)
    return result


@pytest.fixture
def three():
    fixed, moving, warped = np.zeros((3, 12, 16, 16), np.uint8)
    fixed[2:8, 2:8, 2:8] = 1
    moving[2:8, 2:8, 5:11] = 1
    warped[2:8, 2:8, 3:9] = 1
    fixed[9:12, 9:16, 9:16] = 2  # cut by the edge
    moving[11, 15, 15] = 4  # lost by warping
    warped[0, 0, 0] = 6  # gained by warping
    return image(fixed), image(moving), image(warped)


def test_before_and_after(three):
    found = compare_labels(*three, names={1: "Liver"})
    assert list(found["labels"]) == ["1", "2", "4", "6"]
    liver = found["labels"]["1"]
    assert liver["name"] == "Liver" and found["labels"]["2"]["name"] == "Label 2"
    assert liver["before"]["dice"] == pytest.approx(0.5) and liver["after"]["dice"] == pytest.approx(5 / 6)
    assert liver["after"]["asd_mm"] < liver["before"]["asd_mm"]
    assert found["labels"]["4"]["after"]["dice"] is None and found["labels"]["4"]["before"]["dice"] == 0
    assert found["labels"]["6"]["before"]["dice"] is None and found["labels"]["6"]["after"]["dice"] == 0
    assert found["mean"]["before"]["dice"] == pytest.approx(0.5 / 3)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_other_grids_are_resampled(three):
    fixed, moving, warped = three
    finer = sitk.Resample(moving, [32, 32, 24], sitk.Transform(), sitk.sitkNearestNeighbor, (-0.25, -0.25, -0.5),
                          (0.5, 0.5, 1.0))  # fmt: skip
    assert compare_labels(fixed, finer, warped) == compare_labels(fixed, moving, warped)


def test_what_lies_outside_the_fixed_image_is_left_out():
    """A structure of 8 voxels along x, half of it beyond the fixed image's edge."""
    fixed, moving = np.zeros((6, 6, 10), np.uint8), np.zeros((6, 6, 20), np.uint8)
    fixed[1:5, 1:5, 6:] = 3
    moving[1:5, 1:5, 6:14] = 3
    figures = compare_labels(image(fixed), image(moving), image(moving))["labels"]["3"]["before"]
    assert figures["dice"] == 1.0 and figures["asd_mm"] == 0.0
    assert figures["fixed_volume_ml"] == pytest.approx(4 * 4 * 4 * 2 / 1000)
    assert figures["moving_volume_ml"] == pytest.approx(4 * 4 * 8 * 2 / 1000), "of the whole structure"
    gone = np.zeros_like(moving)
    gone[1:5, 1:5, 15:] = 3
    figures = compare_labels(image(fixed), image(gone), image(moving))["labels"]["3"]
    assert figures["before"]["dice"] == 0.0 and figures["before"]["asd_mm"] is None and figures["after"]["dice"] == 1.0


@pytest.mark.parametrize("part", ["a part of it", "more than it"])
def test_compared_is_on_the_fixed_image_whatever_its_labels_cover(part):
    """A label map may be cut to its structure, or reach past the image, where nothing is known."""
    labels, other, margin = np.zeros((20, 20, 20), np.uint8), np.zeros((20, 20, 20), np.uint8), 4
    labels[6:14, 6:14, 6:14] = other[6:14, 6:14, 9:17] = 1
    seen = image(labels)[margin:-margin, margin:-margin, margin:-margin]
    inside, field = sitk.Image(12, 12, 12, sitk.sitkFloat32), sitk.Image([12, 12, 12], sitk.sitkVectorFloat32, 3)
    for one in (inside, field):
        one.CopyInformation(seen)
    figures = compare_registered(seen, image(other), inside, image(other), field)["labels"]["1"]["after"]
    assert figures["dice"] == pytest.approx(2 * 5 / (8 + 7))
    given = image(labels)[6:14, 6:14, 6:14] if part == "a part of it" else image(labels)
    assert compare_registered(given, image(other), inside, image(other), field)["labels"]["1"]["after"] == figures


def test_rows_and_csv(three):
    rows = rows_of(compare_labels(*three, names={1: "=SUM(A1)", 2: 'Niere, "links"'}))
    assert [row["label"] for row in rows] == ["1", "2", "4", "6", ""]
    assert rows[-1]["name"] == "Mean" and set(rows[0]) == set(COLUMNS)
    assert rows[0]["fixed_volume_ml"] == pytest.approx(0.432) and rows[2]["warped_volume_ml"] == 0
    read = list(csv.DictReader(io.StringIO(csv_of(rows))))
    assert read[0]["name"] == "'=SUM(A1)" and read[1]["name"] == 'Niere, "links"'
    assert float(read[0]["dice_after"]) == pytest.approx(5 / 6) and read[1]["asd_mm_after"] == ""
    assert rows_of({}) == []


def test_label_values(three):
    assert label_values(three[0]) == [1, 2]
    assert label_values(three[0] * 0) == []
