"""The .ui file: what the code names is in it, and every input can be reached and understood."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

UI = "Resources/UI/GradientGuidedRegistration.ui"


@pytest.fixture(scope="module")
def tree(repository: Path) -> ElementTree.Element:
    return ElementTree.parse(repository / "GradientGuidedRegistration" / UI).getroot()


def names_in_ui(tree: ElementTree.Element) -> set[str]:
    return {widget.get("name") for widget in tree.iter("widget")}


def test_every_widget_that_the_code_names_is_in_the_ui_file(tree: ElementTree.Element, repository: Path) -> None:
    folder = repository / "GradientGuidedRegistration"
    files = [folder / "GradientGuidedRegistration.py", *(folder / "GradientGuidedRegistrationLib/panel").glob("*.py")]
    used = {name for file in files for name in re.findall(r"\bui\.(\w+)", file.read_text(encoding="utf-8"))}
    assert len(used) > 30
    assert used <= names_in_ui(tree)


def test_names_are_unique_and_every_input_is_reached_by_tab_and_explained(tree: ElementTree.Element) -> None:
    widgets = {widget.get("name"): widget for widget in tree.iter("widget")}
    assert len(widgets) == len(list(tree.iter("widget")))
    # of the parts of a compound widget, such as a node selector, tab stops would move the outermost alone
    assert tree.find("tabstops") is None, "Tab goes the way of the file, which is that of the eye"
    inputs = {
        name
        for name, widget in widgets.items()
        if widget.get("class")
        not in ("QLabel", "QFrame", "QGroupBox", "QProgressBar", "qMRMLWidget", "ctkCollapsibleButton")
    }
    set_by_code = {"registerButton", "applyButton", "trustButton", "compareButton", "landmarksButton", "reportButton"}
    for name in inputs - set_by_code:
        tip = widgets[name].find("property[@name='toolTip']/string")
        assert tip is not None, name
        assert tip.text, name


def test_keys_lead_to_one_widget_each_and_not_to_the_main_menu(tree: ElementTree.Element) -> None:
    texts = [text.text for text in tree.iterfind(".//property[@name='text']/string") if text.text]
    keys = [key.lower() for text in [*texts, "&Cancel"] for key in re.findall("&([A-Za-z])", text)]
    assert {"r", "c", "x", "m"} <= set(keys)
    assert len(keys) == len(set(keys)), sorted(keys)
    assert not set(keys) & set("fevh"), "File, Edit, View and Help are the application's"


def test_labels_have_buddies_and_node_selectors_get_the_scene(tree: ElementTree.Element) -> None:
    names = names_in_ui(tree)
    assert {label.text for label in tree.iterfind(".//property[@name='buddy']/cstring")} <= names
    selectors = {w.get("name") for w in tree.iter("widget") if w.get("class") == "qMRMLNodeComboBox"}
    connected = {
        c.findtext("receiver")
        for c in tree.iter("connection")
        if c.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"
    }
    assert selectors == connected


def test_parameters_of_the_ui_file_are_those_of_the_parameter_node(tree: ElementTree.Element, application: Any) -> None:
    bound = {p.findtext("string") for p in tree.iterfind(".//property[@name='SlicerParameterName']")}
    parameters = set(application.GradientGuidedRegistrationParameterNode.__annotations__)
    assert bound == parameters - {"weights"}  # a ctkPathLineEdit cannot show an empty path through the wrapper


@pytest.mark.parametrize(
    ("selector", "class_name"),
    [
        ("initialTransformSelector", "vtkMRMLLinearTransformNode"),
        ("initialTransformSelector", "vtkMRMLGridTransformNode"),
        ("initialTransformSelector", "vtkMRMLTransformNode"),
        ("transformSelector", "vtkMRMLGridTransformNode"),
        ("fixedMaskSelector", "vtkMRMLLabelMapVolumeNode"),
        ("applySelector", "vtkMRMLMarkupsCurveNode"),
        ("fixedPointsSelector", "vtkMRMLMarkupsFiducialNode"),
    ],
)
def test_node_selectors_list_what_can_be_chosen(panel: Any, scene: Any, selector: str, class_name: str) -> None:
    node = scene.AddNewNodeByClass(class_name)
    getattr(panel.ui, selector).setCurrentNode(node)
    assert getattr(panel.ui, selector).currentNode() is node


def test_node_selectors_are_reached_by_the_keyboard(panel: Any) -> None:
    selector = panel.ui.fixedSelector
    inner = selector.focusProxy()
    assert inner.inherits("QComboBox")
    assert inner.focusProxy() is None, "Tab skips what hands the focus on"


def test_ui_file_makes_the_classes_it_names(panel: Any) -> None:
    """Slicer's loader gives a plain QWidget for a class that it does not know."""
    assert type(panel.ui.fixedSelector).__name__ == "_NodeComboBox"
    assert type(panel.ui.inputsCollapsibleButton).__name__ == "_CollapsibleButton"
