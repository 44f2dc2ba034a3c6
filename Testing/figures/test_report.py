"""Pages, report and batch overview: complete, self-contained, escaped, and readable as files."""

from __future__ import annotations

import base64
import html.parser
import re
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from cases import CENTRE, ct, labels, make_case, make_image, mr

from GradientGuidedRegistrationLib.evaluation import field_transform, label_values, seen_part, warp_labels
from GradientGuidedRegistrationLib.evaluation.plots import BEFORE_AFTER
from GradientGuidedRegistrationLib.figures import batch_report, describe_case, render_case, write_report
from GradientGuidedRegistrationLib.figures.colours import LETTER
from GradientGuidedRegistrationLib.figures.composition import Grey, Page, Panel, Swatch
from GradientGuidedRegistrationLib.figures.page import HEADER, MARGIN, TITLE, render_page
from GradientGuidedRegistrationLib.figures.png import png_bytes
from GradientGuidedRegistrationLib.figures.text import draw_text, text_mask
from GradientGuidedRegistrationLib.figures.views import ORIENTATIONS, SliceView
from GradientGuidedRegistrationLib.figures.volumes import Volume
from GradientGuidedRegistrationLib.whole_files import write_bytes


class Checker(html.parser.HTMLParser):
    """Collects what a page holds and checks that every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.sources, self.links = [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        self.sources.append(values.get("src", ""))
        self.links.append(values.get("href", ""))
        if tag not in ("meta", "img", "br", "rect", "line", "circle", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag


def without_pictures(text):
    return re.sub('base64,[^"]*', "", text)


def blank(panel, volumes):
    """A renderer for tests that do not look at the pictures."""
    return np.zeros((*panel.view.size[::-1], 3), np.uint8)


def is_empty(part):
    return part.std() < 3


@pytest.mark.parametrize("geometry", ["straight", "oblique", "left-handed"])
def test_render_case_writes_every_page(tmp_path, geometry):
    case = make_case(geometry, "anisotropic")
    paths = render_case(case.result, case.fixed, case.moving, tmp_path, case.fixed_labels, case.moving_labels)
    names = [path.stem for path in paths]
    assert names == ["images", "overlay", "outlines", "close-up", "series", "gradients", "deformation"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)  # nothing temporary is left
    for path in paths:
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3 and not is_empty(pixels)


def test_pages_follow_what_there_is():
    case = make_case(branches=False)
    volumes, pages = describe_case(case.result, case.fixed, case.moving)
    assert [page.name for page in pages] == ["images", "overlay", "close-up", "series", "gradients", "deformation"]
    assert "disagreement" not in volumes and len(pages[-1].rows[0]) == 3
    volumes, pages = describe_case(case.result, case.fixed, case.moving, fixed_labels=case.fixed_labels)
    assert "outlines" in [page.name for page in pages] and "labels_after" not in volumes
    case = make_case()
    volumes, pages = describe_case(case.result, case.fixed, case.moving, case.fixed_labels, case.moving_labels)
    assert "disagreement" in volumes and len(pages[-1].rows[0]) == 4
    case.result.expected_error = sitk.VectorMagnitude(case.result.field)
    _, (*_, deformation) = describe_case(case.result, case.fixed, case.moving)
    assert [panel.title for panel in deformation.rows[0]][3:] == ["Expected error (mm)"]
    assert "expects a large error of itself" in deformation.caption
    # both labels are cut by the slices: these meet where most of them shows
    axial, coronal, sagittal = (row[0].view for row in pages[0].rows)
    assert abs(axial.centre[2] - CENTRE[2]) < 4 and abs(coronal.centre[1] - CENTRE[1]) < 4
    assert abs(sagittal.centre[0] - CENTRE[0]) < 25


def test_two_mr_images_and_other_shapes(tmp_path):
    """No CT: windows and edges are taken from the images; a slab of a few slices and tiny labels are no trouble."""
    case = make_case()
    slab = make_image(mr, "anisotropic")[:, :, 8:12]
    case.fixed_labels[:] = 0
    case.fixed_labels[10, 10, 10] = 7
    case.result.linear = None
    paths = render_case(case.result, slab, case.fixed, tmp_path, case.fixed_labels)
    assert len(paths) == 7
    constant = sitk.Image([16, 16, 16], sitk.sitkFloat32) + 5
    constant.SetOrigin(CENTRE.tolist())
    assert len(render_case(case.result, constant, case.moving, tmp_path / "deep" / "er", render=blank)) == 6


def test_after_is_the_registered_image():
    """The field moves the CT by 4 mm: 'after' shows the bone where the label of the fixed image is."""
    case = make_case("oblique", "left-handed")
    volumes, pages = describe_case(case.result, case.fixed, case.moving, case.fixed_labels, case.moving_labels)
    view = pages[0].rows[0][0].view
    core = volumes["fixed_labels"].slice(view) == 1
    overlap = {}
    for when in ("before", "after"):
        bone = volumes[when].slice(view) > 400
        labels = volumes[f"labels_{when}"].slice(view) == 1
        overlap[when] = [2 * (mask & core).sum() / (mask.sum() + core.sum()) for mask in (bone, labels)]
    assert min(overlap["after"]) > 0.93
    assert max(overlap["before"]) < min(overlap["after"]) - 0.1


@pytest.mark.parametrize("fixed", ["straight", "oblique", "left-handed"])
def test_warped_labels_are_those_of_resampling_everything(fixed):
    reference = make_image(ct, fixed, extent=70)
    moving = make_image(labels, "anisotropic", kind=np.uint8)
    field = make_image(lambda p: 7 * np.sin(0.06 * p[..., [1, 2, 0]]) + (5, -3, 2), "oblique", extent=150)
    whole = sitk.Resample(moving, reference, field_transform(field), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    found = warp_labels(moving, reference, field)
    assert (sitk.GetArrayFromImage(found) == sitk.GetArrayFromImage(whole)).all()
    assert set(label_values(found)) == {1, 2} and found.GetOrigin() == reference.GetOrigin()
    far = sitk.Image(moving)
    far.SetOrigin((900.0, 0.0, 0.0))
    assert label_values(warp_labels(far, reference, field)) == label_values(warp_labels(moving * 0, reference, field))


def test_what_was_registered_is_shown_inside_the_fixed_image_only():
    case = make_case("oblique", "straight")
    volumes, pages = describe_case(case.result, case.fixed, case.moving, case.fixed_labels, case.moving_labels)
    corner = case.fixed.TransformIndexToPhysicalPoint((0, 0, 0))
    view = SliceView("coronal", corner, (40.0, 40.0), 1.0)
    inside = ~np.isnan(volumes["fixed"].slice(view))
    assert 0.05 < inside.mean() < 0.95
    for name in ("after", "gradient_after", "labels_after", "jacobian", "displacement", "disagreement", "field"):
        known = ~np.isnan(volumes[name].slice(view))
        known = known.all(axis=-1) if known.ndim == 3 else known
        assert (known <= inside).mean() > 0.999
        if name in ("jacobian", "displacement", "disagreement", "field"):
            assert known.sum() > 0.9 * inside.sum()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_letters_and_scale_bar_are_on_the_page(orientation):
    image = make_image(lambda p: np.zeros(p.shape[:-1]))
    view = SliceView(orientation, tuple(CENTRE.tolist()), (120.0, 100.0), 0.5)
    page = Page("p", "Title", "", ((Panel("Panel", view, (Grey("i"),)),),), (Swatch((255, 0, 0), "red"),))
    pixels = render_page(page, {"i": Volume(image)})
    picture = pixels[MARGIN + TITLE + 2 * HEADER :, MARGIN:][: view.size[1], : view.size[0]]
    gold = np.abs(picture.astype(int) - LETTER).max(axis=-1) < 60
    half = (view.size[1] // 2, view.size[0] // 2)
    sides = (
        gold[half[0] - 12 : half[0] + 12, :24],
        gold[half[0] - 12 : half[0] + 12, -24:],
        gold[:24, half[1] - 12 : half[1] + 12],
        gold[-24:, half[1] - 12 : half[1] + 12],
    )
    areas = dict(zip(ORIENTATIONS[orientation].letters, sides, strict=True))
    for letter, area in areas.items():
        rows, columns = np.nonzero(area)
        shape = area[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        likeness = {}
        for other in areas:
            mask = text_mask(other, 14, True)[0] > 0.75
            rows, columns = np.nonzero(mask)
            mask = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            size = np.maximum(mask.shape, shape.shape)
            both = [np.pad(one, [(0, n - m) for n, m in zip(size, one.shape, strict=True)]) for one in (mask, shape)]
            likeness[other] = np.equal(*both).mean()
        assert max(likeness, key=likeness.get) == letter, (letter, likeness)
    white = (picture[-12:] > 250).all(axis=-1)
    assert white.sum(axis=1).max() == 20 / 0.5 or white.sum(axis=1).max() == 50 / 0.5


def test_another_renderer_can_be_plugged_in(tmp_path):
    case, asked = make_case(), []

    def render(panel, volumes):
        asked.append(panel)
        return np.full((*panel.view.size[::-1], 3), 77, np.uint8)

    paths = render_case(case.result, case.fixed, case.moving, tmp_path, render=render)
    assert len(asked) > 40 and all(layer.volume for layer in asked[0].layers)
    assert (sitk.GetArrayFromImage(sitk.ReadImage(str(paths[0]))) == 77).mean() > 0.5


def test_text_is_drawn_and_clipped():
    canvas = np.zeros((40, 60, 3), np.uint8)
    draw_text(canvas, "Hg $x|y$ é", (30, 25), 14, (255, 128, 0), "centre")
    assert canvas.max() > 240 and canvas[..., 2].max() == 0
    rows = np.nonzero(canvas.any(axis=(1, 2)))[0]
    assert 5 < rows.min() < 20 and 23 < rows.max() < 32  # on the baseline, with what hangs below it
    draw_text(canvas, "outside", (500, 500))
    draw_text(canvas, "partly", (-10, 10))
    assert text_mask("", 12)[0].size == 1


def test_png_round_trip_and_atomic_write(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    path = write_bytes(tmp_path / "new" / "p.png", png_bytes(pixels))
    assert (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) == pixels).all()

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(OSError, match="full"):
        write_bytes(path, b"half")
    assert [item.name for item in path.parent.iterdir()] == ["p.png"]
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_report_is_self_contained_and_escaped(tmp_path):
    case = make_case("oblique", "straight")
    case.fixed.SetMetaData("0010|0010", "DOE^JANE")
    case.moving.SetMetaData("0010|0010", "DOE^JANE")
    case.result.quality = {"verdict": "check", "reasons": ["<b>big</b> motion"], "mutual": {"after": 0.5}}
    case.result.settings = SimpleNamespace()
    path = write_report(
        case.result, case.fixed, case.moving, tmp_path, fixed_labels=case.fixed_labels,
        moving_labels=case.moving_labels, case="A & B <script>alert(1)</script>", label_names={1: "Core <1>"},
    )  # fmt: skip
    text = path.read_text(encoding="utf-8")
    page = Checker(text)
    assert "script" not in page.tags
    assert "A &amp; B &lt;script&gt;" in text and "Core &lt;1&gt;" in text and "&lt;b&gt;big" in text
    assert "JANE" not in without_pictures(text) and str(tmp_path) not in text
    images = [source for source in page.sources if source]
    assert len(images) == 7 and all(source.startswith("data:image/png;base64,") for source in images)
    first = base64.b64decode(images[0].split(",")[1])
    assert first == (tmp_path / "images.png").read_bytes()
    assert not re.search(r"(src|href)=\"?(http|//|file)", text) and not [link for link in page.links if link]
    assert page.tags.count("svg") == 3
    assert '<div class="verdict check"><strong>Check before use</strong>' in text and "Label 2" in text
    rows = (tmp_path / "labels.csv").read_text().splitlines()
    assert rows[0].startswith("label,name,dice_before") and len(rows) == 4
    before, after = (float(rows[1].split(",")[i]) for i in (2, 3))
    assert after > 0.9 > before
    assert path.stat().st_size < 8e6


def test_report_without_labels_and_without_quality(tmp_path):
    case = make_case(branches=False)
    case.result.quality = {}
    text = without_pictures(
        write_report(case.result, case.fixed, case.moving, tmp_path, render=blank).read_text(encoding="utf-8")
    )
    assert Checker(text).tags.count("svg") == 1
    assert (
        ">Structures<" not in text
        and not (tmp_path / "labels.csv").exists()
        and not re.search(r"\bnan\b", text.lower())
    )
    assert "0.000 %" in text  # nothing folds


def test_nothing_of_an_earlier_report_stays(tmp_path):
    """Its outlines and labels would be taken for those of the new one; what a user keeps there is left alone."""
    case = make_case()
    (tmp_path / "labels.csv").write_text("a user's")
    write_report(case.result, case.fixed, case.moving, tmp_path, render=blank)
    assert (tmp_path / "labels.csv").read_text() == "a user's"
    labels = {"fixed_labels": case.fixed_labels, "moving_labels": case.moving_labels}
    write_report(case.result, case.fixed, case.moving, tmp_path, render=blank, **labels)
    (tmp_path / "notes.txt").write_text("a user's")
    write_report(case.result, case.fixed, case.moving, tmp_path, render=blank)
    left = {file.name for file in tmp_path.iterdir()}
    assert "notes.txt" in left and "overlay.png" in left and not {"labels.csv", "outlines.png"} & left


def test_a_structure_far_off_does_not_press_the_others_flat(tmp_path):
    """A lung of 50 mm before: its bar is cut and numbered, those of 1 to 2 mm fill the plot."""
    case, entries = make_case(), {}
    for label in range(1, 14):
        before, after = ({"dice": 0.5, "asd_mm": asd, "hd95_mm": 9.0} for asd in (2.0, 1.0))
        entries[str(label)] = {"name": f"Organ {label}", "before": before, "after": after}
    entries["13"]["before"]["asd_mm"] = 50.4
    metrics = {"labels": entries, "mean": {}, "folding_percent": 0.0}
    path = write_report(case.result, case.fixed, case.moving, tmp_path, metrics=metrics, render=blank)
    plots = re.findall("<svg.*?</svg>", path.read_text(encoding="utf-8"), re.DOTALL)
    asd = next(plot for plot in plots if ">ASD (mm)<" in plot)
    assert "50.40 ↑" in asd and ">50<" not in asd and ">2.0<" in asd
    assert all(BEFORE_AFTER[0] in plot and BEFORE_AFTER[1] in plot for plot in plots[:2])


def test_known_metrics_are_not_computed_again(tmp_path):
    case = make_case()
    figures = {"dice": 0.125, "asd_mm": None, "hd95_mm": None, "fixed_volume_ml": 1.0, "moving_volume_ml": 0.0}
    metrics = {
        "labels": {"4": {"name": "Spleen", "before": figures, "after": figures}},
        "mean": {"before": {"dice": 0.125}, "after": {"dice": 0.125}},
        "folding_percent": 12.5,
    }
    text = write_report(case.result, case.fixed, case.moving, tmp_path, metrics=metrics, render=blank).read_text(
        encoding="utf-8"
    )
    assert "copied" not in text
    metrics["labels"]["4"]["before"] = figures | {"dice": 1.0}
    path = write_report(case.result, case.fixed, case.moving, tmp_path, metrics=metrics, render=blank)
    assert "Spleen: the two segmentations are the same" in path.read_text(encoding="utf-8")
    assert "Spleen" in text and "12.500 %" in text and "0.125 → 0.125" in text and '<td class="number">–</td>' in text


@pytest.mark.parametrize("fixed", ["straight", "oblique", "left-handed", "anisotropic"])
def test_field_of_view_of_the_fixed_image(fixed):
    image = make_image(ct, fixed, extent=40)
    field = make_image(lambda p: np.zeros(p.shape), "straight", extent=90)
    mask = sitk.GetArrayFromImage(seen_part(image, field))
    size = np.array(image.GetSize())
    for k, j, i in np.random.default_rng(1).integers(0, mask.shape[0], (400, 3)):
        point = field.TransformIndexToPhysicalPoint((int(i), int(j), int(k)))
        index = np.array(image.TransformPhysicalPointToContinuousIndex(point))
        margin = np.minimum(index + 0.5, size - 0.5 - index).min()
        if abs(margin) > 1e-3:
            assert mask[k, j, i] == (margin > 0)


def test_batch_overview(tmp_path):
    def metrics(before, after, folding=0.0):
        figures = {when: {"dice": value, "asd_mm": 3 - value} for when, value in (("before", before), ("after", after))}
        return {
            "labels": {"1": {"name": "Liver", **figures}},
            "mean": figures,
            "folding_percent": folding,
            "displacement_mm": {"mean": 1.0, "max": 12.0},
        }

    cases = [
        {"name": "good", "metrics": metrics(0.6, 0.9), "report": tmp_path / "good" / "report.html"},
        {"name": "worst", "metrics": metrics(0.6, 0.5), "report": "100% #1/report.html"},
        {"name": "broken <i>", "error": "no overlap in space & time"},
        {"name": "middle", "metrics": metrics(0.5, 0.7, 2.0)},
    ]
    text = batch_report(cases, tmp_path).read_text(encoding="utf-8")
    page = Checker(text)
    table = text[text.index("worst first") :]
    assert table.index("broken") < table.index(">worst<") < table.index("middle") < table.index(">good<")
    assert [link for link in page.links if link] == ["100%25%20%231/report.html", "good/report.html"]
    assert "4 cases, 1 failed" in text and "&lt;i&gt;" in text and "no overlap in space &amp; time" in text
    assert page.tags.count("svg") == 3
    assert "0.700 ± 0.200" in text  # Liver after
    unlabelled = [
        {"name": name, "metrics": {"verdict": verdict, "mutual_information": {"before": 0.4, "after": after}}}
        for name, verdict, after in (("better", "good", 0.9), ("hardly", "good", 0.41), ("doubtful", "check", 0.7))
    ]
    text = batch_report(unlabelled, tmp_path / "two").read_text(encoding="utf-8")
    assert text.index("doubtful") < text.index("hardly") < text.index("better") and "0.410" in text
    assert "Check before use" in text and Checker(text).tags.count("svg") == 1
    empty = batch_report([], tmp_path / "none").read_text(encoding="utf-8")
    assert "0 cases" in empty
