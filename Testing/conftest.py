"""What every test may ask for: the MRML scene, and a guard that lets no VTK error pass unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from GradientGuidedRegistrationLib.waiting import wait_briefly

wait_briefly()  # before any test imports torch

REPOSITORY = Path(__file__).resolve().parents[1]
MODULE_FOLDER = REPOSITORY / "GradientGuidedRegistration"
SCRIPTS = MODULE_FOLDER / "Scripts"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def scripts() -> Path:
    """The folder of register.py and its siblings."""
    return SCRIPTS


@pytest.fixture(scope="session")
def folding_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file `gated.pt` of a network with random last layers, which moves everything anywhere."""
    import torch

    from GradientGuidedRegistrationLib.model import build_network, save_weights

    path = tmp_path_factory.mktemp("folding") / "gated.pt"
    torch.manual_seed(0)
    network = build_network("gated")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "flow" in name and parameter.ndim > 1:
                parameter.normal_(0, 1.0)
    save_weights(network, path)
    return path


@pytest.fixture(scope="session")
def _host() -> Any:
    from GradientGuidedRegistrationLib import headless

    scene = headless.start()
    if scene is None:
        pytest.skip("slicer-core is not installed (not published for this platform)")
    return scene


@pytest.fixture
def vtk_errors() -> Iterator[list[str]]:
    """The errors that VTK reports during the test; the test fails if any is left in the list at its end."""
    import vtk

    errors: list[str] = []

    @vtk.calldata_type(vtk.VTK_STRING)
    def record(caller: object, event: str, text: str) -> None:
        errors.append(text)

    window = vtk.vtkOutputWindow.GetInstance()
    tag = window.AddObserver(vtk.vtkCommand.ErrorEvent, record)
    yield errors
    window.RemoveObserver(tag)
    assert not errors, "VTK reported: " + "\n".join(errors)


@pytest.fixture
def scene(_host: Any, vtk_errors: list[str]) -> Iterator[Any]:
    """Slicer's MRML scene, empty at the start of the test. A VTK error during the test fails it."""
    _host.Clear(0)
    yield _host
    _host.Clear(0)


@pytest.fixture
def new_slice_view(scene: Any) -> Callable[[str], Any]:
    """`new_slice_view("Red")` adds the composite node of a slice view that shows nothing."""

    def add(name: str) -> Any:
        node = scene.CreateNodeByClass("vtkMRMLSliceCompositeNode")
        node.UnRegister(None)
        node.SetLayoutName(name)
        return scene.AddNode(node)

    return add


@pytest.fixture(scope="session")
def module(_host: Any) -> Any:
    """The module file GradientGuidedRegistration.py."""
    from GradientGuidedRegistrationLib import headless

    return headless.load_module()


@pytest.fixture
def logic(module: Any) -> Any:
    """A new Logic."""
    return module.GradientGuidedRegistrationLogic()


@pytest.fixture
def new_parent(scene: Any) -> Any:
    """`new_parent(node)` puts a node under a new linear transform, which is returned."""

    def put(node: Any) -> Any:
        parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", f"parent of {node.GetName()}")
        parent.GetTransformToParent().Translate(1, 2, 3)
        node.SetAndObserveTransformNodeID(parent.GetID())
        return parent

    return put


@pytest.fixture
def pair(scene: Any) -> tuple[Any, Any]:
    """An MR and a CT of noise in the scene, `finished.SIZE` voxels along each axis."""
    import numpy as np
    import SimpleITK as sitk
    from finished import SIZE

    from GradientGuidedRegistrationLib import mrml

    def volume(name: str, seed: int) -> Any:
        values = np.random.default_rng(seed).normal(size=(SIZE, SIZE, SIZE)).astype(np.float32)
        return mrml.volume_node_from_image(sitk.GetImageFromArray(values), name, scene)

    return volume("MR", 1), volume("CT", 2)
