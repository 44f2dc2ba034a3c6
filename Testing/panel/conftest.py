"""The real panel over the stand-in for Qt, in the real MRML scene."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

MODULE, PANEL = "GradientGuidedRegistration", "GradientGuidedRegistrationLib.panel"


class WidgetBase:
    """Slicer's base class of module widgets, as far as the panel uses it."""

    def __init__(self, parent: Any) -> None:
        self.parent, self.layout = parent, parent.layout()
        self.moduleName = type(self).__name__.removesuffix("Widget")

    def setup(self) -> None:
        pass

    def resourcePath(self, name: str) -> str:
        return str(Path(sys.modules["GradientGuidedRegistration"].__file__).parent / "Resources" / name)

    def onReload(self) -> None:
        pass


class Settings:
    """The application's settings, as far as the panel uses them: empty, and forgetful."""

    def value(self, key: str, default: Any) -> Any:
        return default

    def setValue(self, key: str, value: Any) -> None:
        pass


def panel_modules() -> list[str]:
    """The imported modules that hold on to `qt`."""
    return [name for name in sys.modules if name == MODULE or name == PANEL or name.startswith(PANEL + ".")]


@pytest.fixture
def application(_host: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """`qt`, `slicer.app` and what else the panel touches of the application; gives the module file, imported anew."""
    pytest.importorskip("PySide6", reason="PySide6 is not installed")
    import slicer
    import slicer.util
    from panel import qt_stand_in as stand_in

    import GradientGuidedRegistrationLib
    from GradientGuidedRegistrationLib import headless

    folder = tmp_path / "tmp ü x"
    folder.mkdir()
    monkeypatch.setitem(sys.modules, "qt", stand_in.qt_module())
    monkeypatch.setattr(
        slicer,
        "app",
        SimpleNamespace(
            temporaryPath=str(folder),
            clipboard=stand_in.application.clipboard,
            userSettings=Settings,
            layoutManager=lambda: None,
        ),
    )
    monkeypatch.setattr(sys.modules["slicer.ScriptedLoadableModule"], "ScriptedLoadableModuleWidget", WidgetBase)
    for name, value in {
        "loadUI": stand_in.load_ui,
        "childWidgetVariables": stand_in.child_widget_variables,
        "setSliceViewerLayers": lambda **layers: None,
        "resetSliceViews": lambda: None,
        "WaitCursor": nullcontext,
    }.items():
        monkeypatch.setattr(slicer.util, name, value, raising=False)
    monkeypatch.setattr(GradientGuidedRegistrationLib, "panel", None, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in panel_modules():
        monkeypatch.delitem(sys.modules, name)
    module = headless.load_module()
    parameters = module.GradientGuidedRegistrationParameterNode
    parameters.connectGui, parameters.disconnectGui = stand_in.connect_gui, stand_in.disconnect_gui
    yield module
    for name in panel_modules():
        del sys.modules[name]


@pytest.fixture
def panel(application: Any, scene: Any) -> Iterator[Any]:
    """The panel, set up and shown; everything that it started is ended afterwards."""
    from panel.qt_stand_in import CLASSES
    from PySide6.QtWidgets import QVBoxLayout

    parent = CLASSES["QWidget"]()
    QVBoxLayout(parent)
    parent.isEntered = True
    widget = application.GradientGuidedRegistrationWidget(parent)
    widget.setup()
    yield widget
    widget.cleanup()
    parent.deleteLater()


@pytest.fixture
def filled(panel: Any, scene: Any) -> Any:
    """The panel with an MR, a CT and the fastest settings."""
    from panel.volumes import volume

    from GradientGuidedRegistrationLib.panel.choices import Model, Quality

    parameters = panel._parameterNode
    parameters.fixedVolume, parameters.movingVolume = volume(scene, "MR"), volume(scene, "CT", seed=2)
    parameters.model, parameters.quality = Model.NONE, Quality.FAST
    return panel


@pytest.fixture
def wait() -> Callable[..., None]:
    """Let Qt handle events until something is so."""
    from PySide6.QtCore import QCoreApplication, QEventLoop

    def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it took too long"
            QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
            time.sleep(0.01)

    return until


@pytest.fixture
def views(new_slice_view: Any) -> Any:
    """One slice view, showing nothing."""
    return new_slice_view("Red")


@pytest.fixture
def volumes(scene: Any) -> SimpleNamespace:
    """An MR and a CT of a ball that has moved by 3 mm, with label maps."""
    import SimpleITK as sitk
    from panel.volumes import SHIFT_MM, ball

    from GradientGuidedRegistrationLib import mrml

    noise = sitk.AdditiveGaussianNoise
    return SimpleNamespace(
        mr=mrml.volume_node_from_image(noise(ball(0, (20, 200), sitk.sitkFloat32), 1.0), "MR", scene),
        ct=mrml.volume_node_from_image(noise(ball(SHIFT_MM, (-90, 60), sitk.sitkFloat32), 1.0), "CT", scene),
        mr_labels=mrml.volume_node_from_image(ball(0, (0, 1), sitk.sitkUInt8), "MR organs", scene, labels=True),
        ct_labels=mrml.volume_node_from_image(ball(SHIFT_MM, (0, 1), sitk.sitkUInt8), "CT organs", scene, labels=True),
    )


@pytest.fixture
def show(panel: Any, scene: Any, views: Any, volumes: SimpleNamespace) -> Any:
    """`show(quality=..., **fields of the result)` puts a result into the scene and into the panel."""
    import SimpleITK as sitk
    from panel.volumes import field

    from GradientGuidedRegistrationLib.registration import Settings
    from GradientGuidedRegistrationLib.registration.result import Result

    def shown(quality: dict[str, Any] | None = None, **fields: Any) -> Any:
        quality = quality or {"folding_percent": 0.0, "displacement_mm": {"mean": 3.0, "max": 3.0}}
        result = Result(field(), sitk.Transform(3, sitk.sitkIdentity), Settings(), quality=quality)
        for name, value in fields.items():
            result.__dict__[name] = value
        nodes = panel.logic.addResultToScene(result, volumes.mr, volumes.ct)
        panel.resultSection.show(nodes)
        return nodes

    return shown
