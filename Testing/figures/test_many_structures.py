"""Reports of segmentations with more structures than a picture or a plot has room for."""

from __future__ import annotations

import re

import numpy as np
import SimpleITK as sitk
from cases import make_case

from GradientGuidedRegistrationLib.evaluation import WorstBoundary
from GradientGuidedRegistrationLib.figures import describe_case, write_report
from GradientGuidedRegistrationLib.figures.composition import Outline


def blank(panel, volumes):
    """A renderer for tests that do not look at the pictures."""
    return np.zeros((*panel.view.size[::-1], 3), np.uint8)


def outlined(page) -> set[int]:
    """The labels of which a page has outlines."""
    return {layer.label for row in page.rows for panel in row for layer in panel.layers if isinstance(layer, Outline)}


def test_the_largest_structures_are_outlined_and_the_others_counted():
    case = make_case()
    values = np.zeros(case.fixed_labels.GetSize()[::-1], np.uint8)
    for label in range(1, 51):  # the higher, the larger
        values[label, 2, : label // 2 + 1] = label
    many = sitk.GetImageFromArray(values)
    many.CopyInformation(case.fixed_labels)
    worst = WorstBoundary(3, case.fixed.TransformIndexToPhysicalPoint((0, 2, 3)), 9.0)
    _, pages = describe_case(case.result, case.fixed, case.moving, many, many, {3: "x" * 300}, worst)
    page = next(page for page in pages if page.name == "outlines")
    assert outlined(page) == {3, *range(12, 51)}
    assert "Only the 40 largest of 50 structures" in page.caption
    close_up = next(page for page in pages if page.name == "close-up")
    assert close_up.title.endswith(f"({'x' * 39}…)")
    _, pages = describe_case(case.result, case.fixed, case.moving, case.fixed_labels, case.moving_labels)
    assert "Only" not in next(page for page in pages if page.name == "outlines").caption


def test_the_plots_show_the_worst_structures_and_say_so(tmp_path):
    case = make_case()

    def plots(count: int) -> tuple[str, list[str], list[float]]:
        entries = {}
        for label in range(1, count + 1):
            figures = {"dice": label / 200, "asd_mm": 1.0, "hd95_mm": 9.0}
            entries[str(label)] = {"name": f"Organ {label}", "before": figures, "after": figures}
        entries["1"]["after"] = {}  # missing in one of the images
        metrics = {"labels": entries, "mean": {}, "folding_percent": 0.0}
        path = write_report(case.result, case.fixed, case.moving, tmp_path, metrics=metrics, render=blank)
        text = path.read_text(encoding="utf-8")
        dice = re.findall("<svg.*?</svg>", text, re.DOTALL)[0]
        bars = [float(width) for width in re.findall(r'<rect x="[^"]+" y="[^"]+" width="([-.0-9]+)"', dice)]
        return text, re.findall(">(Organ [0-9]+)<", dice), bars

    text, names, bars = plots(117)
    assert names == [f"Organ {label}" for label in range(2, 52)] and min(bars) > 3
    assert "The plots show the 50 of 117 structures with the lowest Dice" in text and "<td>Organ 117</td>" in text
    text, names, bars = plots(50)
    assert len(names) == 50 and "The plots show" not in text and min(bars) > 3
