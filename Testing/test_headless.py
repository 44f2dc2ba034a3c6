"""The plain-Python host: what is real works, what is stood in for says so."""

from __future__ import annotations

import enum
import os
import signal
import subprocess
import sys
import textwrap
import unittest
from pathlib import Path
from typing import Annotated, Any, Union

import pytest

from GradientGuidedRegistrationLib import headless


def test_scene_is_slicers_own_with_default_nodes(scene: Any) -> None:
    assert scene.GetClassName() == "vtkMRMLScene"
    assert scene.GetNodeByID("vtkMRMLColorTableNodeGrey") is not None
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    node.CreateDefaultDisplayNodes()
    assert node.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeGrey"


def test_the_scene_leaves_no_folder_even_while_it_is_used(scene: Any, repository: Path, tmp_path: Path) -> None:
    code = "import os, sys; sys.path.insert(0, sys.argv[1]); from GradientGuidedRegistrationLib import headless; "
    code += "headless.start().Clear(0); print(os.listdir(sys.argv[2]))"
    run = subprocess.run(
        [sys.executable, "-c", code, str(repository / "GradientGuidedRegistration"), str(tmp_path)],
        env={**os.environ, "TMPDIR": str(tmp_path), "TEMP": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout.strip() == "[]", run.stderr


def test_start_again_gives_the_same_scene(scene: Any) -> None:
    assert headless.start() is scene
    assert headless.has_scene()
    assert not headless.in_application()


@pytest.mark.parametrize(
    "expression", ["qt.QPushButton", "ctk.ctkCollapsibleButton", "slicer.app.layoutManager", "slicer.modules.volumes"]
)
def test_qt_and_application_say_what_they_need(scene: Any, expression: str) -> None:
    names: dict[str, Any] = {}
    exec(f"import {expression.partition('.')[0]}", names)
    with pytest.raises(headless.NeedsSlicer, match="needs the Slicer application"):
        eval(expression, names)


def test_vtk_errors_are_seen(scene: Any, vtk_errors: list[str]) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    node.SetSpacing(0.0, 1.0, 1.0)  # refused by MRML with an error
    scene.AddNewNodeByClass("vtkMRMLNoSuchNode")
    assert vtk_errors
    vtk_errors.clear()


def test_self_tests_are_skipped_outside_slicer(scene: Any) -> None:
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

    class ProbeTest(ScriptedLoadableModuleTest):
        def test_nothing(self) -> None:
            raise AssertionError("must not run")

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(ProbeTest).run(result)
    assert len(result.skipped) == 1
    assert "needs the Slicer application" in result.skipped[0][1]
    assert not result.failures
    assert not result.errors


def test_logic_base_keeps_one_parameter_node(scene: Any) -> None:
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    class ProbeLogic(ScriptedLoadableModuleLogic):
        pass

    first = ProbeLogic().getParameterNode()
    assert ProbeLogic().getParameterNode() is first
    assert first.GetAttribute("ModuleName") == "Probe"
    assert first.GetSingletonTag() == "Probe"


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def _wrapper() -> Any:
    import slicer
    from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

    class Parameters:
        volume: slicer.vtkMRMLScalarVolumeNode
        amount: Annotated[float, WithinRange(0, 10)] = 2.5
        count: Annotated[int, Default(7)]
        enabled: bool = True
        name: Annotated[str, Choice(["a", "b"])] = "a"
        limit: float | None = None
        colour: Colour
        labels: slicer.vtkMRMLSegmentationNode | slicer.vtkMRMLLabelMapVolumeNode | None

    Parameters.__annotations__ = {  # names of this function, which get_type_hints cannot see
        "volume": slicer.vtkMRMLScalarVolumeNode,
        "amount": Annotated[float, WithinRange(0, 10)],
        "count": Annotated[int, Default(7)],
        "enabled": bool,
        "name": Annotated[str, Choice(["a", "b"])],
        "limit": float | None,
        "colour": Colour,
        "labels": Union[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLLabelMapVolumeNode, None],  # noqa: UP007
    }
    return parameterNodeWrapper(Parameters)


def test_parameter_node_round_trip(scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    wrapper = _wrapper()
    first = wrapper(node)
    assert (first.amount, first.count, first.enabled, first.name, first.limit) == (2.5, 7, True, "a", None)
    assert first.colour is Colour.RED
    assert first.volume is None
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    first.volume, first.amount, first.count, first.enabled = volume, 3, 8, False
    first.name, first.limit, first.colour = "b", 1.5, Colour.BLUE
    again = wrapper(node)  # a second wrapper of the same node reads what was written
    assert again.volume is volume
    assert (again.amount, again.count, again.enabled, again.name, again.limit) == (3.0, 8, False, "b", 1.5)
    assert again.colour is Colour.BLUE
    assert node.GetParameter("enabled") == "False"
    assert node.GetParameter("colour") == "BLUE"


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("amount", 11.0, ValueError),
        ("amount", "x", TypeError),
        ("count", 2.0, TypeError),
        ("name", "c", ValueError),
        ("enabled", None, TypeError),
        ("volume", 3, TypeError),
        ("labels", 3, TypeError),
    ],
)
def test_parameter_node_is_strict(scene: Any, name: str, value: Any, error: type[Exception]) -> None:
    parameters = _wrapper()(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    before = getattr(parameters, name)
    with pytest.raises(error):
        setattr(parameters, name, value)
    assert getattr(parameters, name) == before


def test_one_of_several_types_is_kept_as_slicer_keeps_it(scene: Any) -> None:
    """Under the number of the type that it has: a parameter node goes from one host to the other with its scene."""
    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    parameters = _wrapper()(node)

    def kept() -> dict[str, tuple[str, Any]]:
        names = [name for name in node.GetParameterNames() if name.partition(".")[0] in ("labels", "limit")]
        return {name: (node.GetParameter(name), node.GetNodeReference(name)) for name in names}

    assert parameters.labels is None
    assert kept() == {"labels.2": ("True", None), "limit.1": ("True", None)}
    organs = [scene.AddNewNodeByClass(f"vtkMRML{name}Node") for name in ("Segmentation", "LabelMapVolume")]
    for index, one in enumerate(organs):
        parameters.labels, parameters.limit = one, 2.0
        assert parameters.labels is one
        assert kept() == {f"labels.{index}": ("", one), "limit.0": ("2.0", None)}
    scene.RemoveNode(organs[1])
    assert parameters.labels is None
    parameters.labels = None
    assert "labels.2" in kept()


def test_logic_imports_without_vtk_and_slicer_core(repository: Path) -> None:
    """A training node has neither: the Logic can still be made, and the scene's functions say what is missing."""
    code = textwrap.dedent("""
        import sys
        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.partition('.')[0] in ('vtk', 'vtkmodules', 'slicer', 'slicer_core', 'qt', 'ctk'):
                    raise ImportError(name)
        sys.meta_path.insert(0, Refuse())
        sys.path.insert(0, sys.argv[1])
        from GradientGuidedRegistrationLib import headless
        module = headless.load_module()
        assert headless.start() is None and not headless.has_scene()
        logic = module.GradientGuidedRegistrationLogic()
        assert callable(logic.train)
        try:
            logic.getParameterNode()
        except headless.NeedsSlicer as error:
            assert 'slicer-core' in str(error)
        else:
            raise SystemExit('no error')
        assert 'torch' not in sys.modules
        print('fine')
    """)
    run = subprocess.run(
        [sys.executable, "-c", code, str(repository / "GradientGuidedRegistration")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "fine"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interruption_while_slicers_core_is_imported_waits_for_the_end_of_it(scene: Any, repository: Path) -> None:
    """Broken off in the middle, the import ends in a crash of the process."""
    code = """
        import signal, sys
        sys.path.insert(0, sys.argv[1])
        from GradientGuidedRegistrationLib import command, headless

        class Interrupt:  # asked for each module that is imported
            def find_spec(self, name, *_):
                if name == "vtk":
                    sys.meta_path.remove(self)
                    signal.raise_signal(int(sys.argv[2]))

        sys.meta_path.insert(0, Interrupt())
        status = command.run_command(headless.start)
        assert hasattr(sys.modules["slicer"], "vtkMRMLScene") and "vtk" in sys.modules
        headless.leave(status)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(repository / "GradientGuidedRegistration")]
    for number in (signal.SIGINT, signal.SIGTERM):
        run = subprocess.run(
            [*command, str(int(number))],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert (run.returncode, run.stderr) == (130, "interrupted; nothing was written\n")
