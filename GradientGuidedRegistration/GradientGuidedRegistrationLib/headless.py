"""Plain Python as a host: Slicer's real MRML scene from the package `slicer-core`, and no application around it.

`start()` makes `import slicer` behave, outside Slicer, as far as this extension needs it: a real scene with its logics
and default nodes, Slicer's scripted-module base classes by our own stand-ins (`headless_modules`), and `qt`, `ctk` and
`slicer.app` as names that say «needs the Slicer application» when touched. Inside Slicer it changes nothing. Where not
even `slicer-core` and `vtk` are installed (a training node) there is no scene, but the module's Logic still imports.
"""

from __future__ import annotations

import importlib.util
import signal
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

MODULE_NAME = "GradientGuidedRegistration"
_alive: list[Any] = []  # logics of the scene: MRML does not own them, so something has to


class NeedsSlicer(RuntimeError):
    """Something was touched that exists only inside the Slicer application (or only with `slicer-core`)."""


class Absent(ModuleType):
    """A name that can be imported; any use of it raises `NeedsSlicer` with a sentence that names it."""

    def __init__(self, name: str, needs: str = "the Slicer application") -> None:
        super().__init__(name)
        self._needs = needs

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system and `inspect` ask for these and expect AttributeError
            raise AttributeError(name)
        raise NeedsSlicer(f"{self.__name__}.{name} needs {self._needs}.")


class _AbsentLibrary(Absent):
    """Stands for a whole missing package: its classes can be named in annotations and as bases, not used."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("vtk") and name != "VTKObservationMixin":
            return super().__getattr__(name)
        message = f"{self.__name__}.{name} needs {self._needs}."

        def refuse(self: object, *args: object, **kwargs: object) -> None:
            raise NeedsSlicer(message)

        setattr(self, name, type(name, (), {"__init__": refuse}))
        return self.__dict__[name]


def in_application() -> bool:
    """Whether this Python runs inside the Slicer application."""
    app = getattr(sys.modules.get("slicer"), "app", None)
    return app is not None and not isinstance(app, Absent)


def has_scene() -> bool:
    """Whether there is a MRML scene: inside Slicer, or with `slicer-core` after `start()`."""
    return getattr(sys.modules.get("slicer"), "mrmlScene", None) is not None


def start() -> Any:
    """Make `slicer` usable and return its scene (`vtkMRMLScene`), or None without `slicer-core`. Safe to call again."""
    if in_application() or isinstance(getattr(sys.modules.get("slicer"), "app", None), Absent):
        return sys.modules["slicer"].mrmlScene
    slicer: Any = _import_slicer_core()
    slicer.app = Absent("slicer.app")
    slicer.modules = Absent("slicer.modules")
    for name in ("qt", "ctk"):
        sys.modules.setdefault(name, Absent(name))

    from . import headless_modules

    for module in headless_modules.create():
        sys.modules[module.__name__] = module
        setattr(slicer, module.__name__.partition(".")[2], module)
    slicer.mrmlScene = None if isinstance(slicer, Absent) else _create_scene(slicer)
    return slicer.mrmlScene


def load_module() -> ModuleType:
    """The module file `GradientGuidedRegistration.py` with its Logic, on whichever host this is."""
    start()
    if MODULE_NAME not in sys.modules:
        path = Path(__file__).resolve().parents[1] / f"{MODULE_NAME}.py"
        spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[MODULE_NAME] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[MODULE_NAME]
            raise
    return sys.modules[MODULE_NAME]


def leave(status: int) -> None:
    """End a script with an exit status; Slicer would otherwise stay open after `--python-script`."""
    if in_application():
        sys.modules["slicer"].util.exit(status)
    for number in (signal.SIGINT, signal.SIGTERM):  # the work is over, and the status tells how
        signal.signal(number, signal.SIG_IGN)
    sys.exit(status)


def _import_slicer_core() -> ModuleType:
    from .interruption import uninterrupted

    try:
        with uninterrupted():
            import slicer
            import vtk  # noqa: F401

        if hasattr(slicer, "vtkMRMLScene"):
            return slicer
    except ImportError:
        pass
    needs = "the package slicer-core (PyPI's package 'slicer' is another project)"
    for name in ("slicer", "slicer.util", "vtk"):
        sys.modules[name] = _AbsentLibrary(name, needs)
    sys.modules["slicer"].util = sys.modules["slicer.util"]  # type: ignore[attr-defined]
    return sys.modules["slicer"]


def _create_scene(slicer: ModuleType) -> Any:
    scene = slicer.vtkMRMLScene()
    with tempfile.TemporaryDirectory(prefix="slicer-home-", ignore_cleanup_errors=True) as home:  # read at start only
        (Path(home) / "share" / "ColorFiles").mkdir(parents=True)  # empty, so that nothing of the user's is loaded
        application = slicer.vtkSlicerApplicationLogic()
        application.SetHomeDirectory(home)
        application.SetShareDirectory("share")
        application.SetMRMLScene(scene)
        _alive.append(application)
        for name in (
            "vtkSlicerColorLogic",
            "vtkSlicerTransformLogic",
            "vtkSlicerVolumesLogic",
            "vtkSlicerMarkupsLogic",
            "vtkSlicerSegmentationsModuleLogic",
            "vtkSlicerSubjectHierarchyModuleLogic",
        ):
            logic = getattr(slicer, name)()
            logic.SetMRMLApplicationLogic(application)
            logic.SetMRMLScene(scene)
            _alive.append(logic)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    return scene
