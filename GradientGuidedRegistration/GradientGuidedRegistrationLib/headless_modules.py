"""Our stand-ins for the pure-Python parts of Slicer that the package `slicer-core` leaves out.

`slicer.ScriptedLoadableModule`, `slicer.parameterNodeWrapper` and `slicer.i18n`, as far as this extension uses them.
The Logic base class and the parameter node really work, over `vtkMRMLScriptedModuleNode` and in the format in which
Slicer saves a scene; Module and Widget refuse; self-tests report «skipped».
"""

from __future__ import annotations

import enum
import types
import typing
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .headless import NeedsSlicer


def create() -> Iterator[types.ModuleType]:
    """The modules to put in place, each named as Slicer names it."""
    contents: dict[str, dict[str, Any]] = {
        "slicer.ScriptedLoadableModule": {
            c.__name__: c
            for c in (
                ScriptedLoadableModule,
                ScriptedLoadableModuleWidget,
                ScriptedLoadableModuleLogic,
                ScriptedLoadableModuleTest,
            )
        },
        "slicer.parameterNodeWrapper": {
            o.__name__: o for o in (parameterNodeWrapper, Default, Choice, WithinRange, Minimum, Maximum)
        },
        "slicer.i18n": {"tr": lambda text: text, "translate": lambda context, text: text},
    }
    for name, members in contents.items():
        module = types.ModuleType(name, "Stand-in outside the Slicer application.")
        module.__dict__.update(members, __all__=list(members))
        yield module


# --- slicer.ScriptedLoadableModule ------------------------------------------------------------------------------------


class ScriptedLoadableModule:
    """Refuses to be made: a module is registered in the application."""

    def __init__(self, parent: Any = None) -> None:
        raise NeedsSlicer(f"The module {type(self).__name__} needs the Slicer application.")


class ScriptedLoadableModuleWidget:
    """Refuses to be made: a panel needs Qt."""

    def __init__(self, parent: Any = None) -> None:
        raise NeedsSlicer(f"The panel {type(self).__name__} needs the Slicer application.")


class ScriptedLoadableModuleLogic:
    """Finds or makes the module's parameter node, as Slicer's base class does."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        """The first of the module's parameter nodes; made if there is none."""
        existing = self.getAllParameterNodes()
        return existing[0] if existing else _scene().AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list[Any]:
        """The module's parameter nodes in the scene."""
        scene = _scene()
        count = scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode")
        nodes = [scene.GetNthNodeByClass(index, "vtkMRMLScriptedModuleNode") for index in range(count)]
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        """A new parameter node, not yet in the scene."""
        scene = _scene()
        node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)  # CreateNodeByClass leaves one reference too many
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(scene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Self-tests belong into the application: elsewhere they are skipped, never passed."""

    @classmethod
    def setUpClass(cls) -> None:
        """Skip all tests of the class."""
        raise unittest.SkipTest("needs the Slicer application")

    def runTest(self) -> None:
        """Skip."""
        raise unittest.SkipTest("needs the Slicer application")

    def delayDisplay(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Refuse: there is nothing to display on."""
        raise NeedsSlicer("delayDisplay needs the Slicer application.")


def _scene() -> Any:
    import slicer

    if slicer.mrmlScene is None:
        raise NeedsSlicer("A parameter node needs a MRML scene: install slicer-core, or run inside Slicer.")
    return slicer.mrmlScene


# --- slicer.parameterNodeWrapper --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Default:
    """Annotation: the value of a parameter that was never set."""

    value: Any


@dataclass(frozen=True)
class Choice:
    """Annotation: a parameter is one of these values."""

    choices: Any

    def validate(self, value: Any) -> None:
        """Raise `ValueError` for a value that is not allowed."""
        if value not in self.choices:
            raise ValueError(f"{value!r} is none of {list(self.choices)}")


@dataclass(frozen=True)
class WithinRange:
    """Annotation: a number is not below the minimum and not above the maximum."""

    minimum: float
    maximum: float

    def validate(self, value: float) -> None:
        """Raise `ValueError` for a value that is not allowed."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is outside [{self.minimum}, {self.maximum}]")


@dataclass(frozen=True)
class Minimum:
    """Annotation: a number is not below the minimum."""

    minimum: float

    def validate(self, value: float) -> None:
        """Raise `ValueError` for a value that is not allowed."""
        if value < self.minimum:
            raise ValueError(f"{value} is below {self.minimum}")


@dataclass(frozen=True)
class Maximum:
    """Annotation: a number is not above the maximum."""

    maximum: float

    def validate(self, value: float) -> None:
        """Raise `ValueError` for a value that is not allowed."""
        if value > self.maximum:
            raise ValueError(f"{value} is above {self.maximum}")


class _Parameter:
    """One typed parameter, kept as text (or as a node reference) in a `vtkMRMLScriptedModuleNode`."""

    def __init__(self, name: str, annotation: Any, assigned: Any) -> None:
        self.name = name
        extras: tuple[Any, ...] = ()
        if typing.get_origin(annotation) is typing.Annotated:
            annotation, *rest = typing.get_args(annotation)
            extras = tuple(rest)
        union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
        self.members: tuple[Any, ...] = typing.get_args(annotation) if union else (annotation,)
        self.keys = [f"{name}.{index}" for index in range(len(self.members))] if union else [name]  # as in Slicer
        types_ = [member for member in self.members if member is not type(None)]
        self.is_node = all(hasattr(member, "GetNodeTagName") for member in types_)
        if len(types_) != 1 and not self.is_node:
            raise TypeError(f"Parameter {name}: outside Slicer one type or several node classes are supported, or None")
        self.type: type = types_[0]
        self.optional = union or self.is_node
        self.validators = [extra for extra in extras if hasattr(extra, "validate")]
        defaults = [extra.value for extra in extras if isinstance(extra, Default)]
        if assigned is not _MISSING:
            defaults = [assigned]
        self.default = defaults[0] if defaults else None if self.optional else self._natural_default()

    def _natural_default(self) -> Any:
        return next(iter(self.type)) if issubclass(self.type, enum.Enum) else self.type()

    def is_in(self, node: Any) -> bool:
        return any(map(node.HasParameter, self.keys))

    def read(self, node: Any) -> Any:
        member, key = next((one for one in zip(self.members, self.keys) if node.HasParameter(one[1])), (None, ""))
        if member is None:
            return self.default
        if member is type(None):
            return None
        if self.is_node:
            return node.GetNodeReference(key)
        text = node.GetParameter(key)
        if member is bool:
            return text == "True"
        return member[text] if issubclass(member, enum.Enum) else member(text)

    def write(self, node: Any, value: Any) -> None:
        chosen = self._checked(value)
        was_modifying = node.StartModify()
        for key in self.keys:
            if key != chosen:
                node.UnsetParameter(key)
                node.RemoveNodeReferenceIDs(key)
        if self.is_node and (value is not None or len(self.keys) == 1):
            node.SetParameter(chosen, "")
            node.SetNodeReferenceID(chosen, value.GetID() if value is not None else None)
        elif value is None:
            node.SetParameter(chosen, "True")
        else:
            node.SetParameter(chosen, value.name if isinstance(value, enum.Enum) else str(value))
        node.EndModify(was_modifying)

    def _checked(self, value: Any) -> str:
        """The key under which a value is kept; `TypeError` or `ValueError` for one that is not allowed."""
        for member, key in zip(self.members, self.keys):
            if isinstance(value, (int, float) if member is float else member):
                if value is not None:
                    for validator in self.validators:
                        validator.validate(value)
                return key
        if value is None and self.optional:
            return self.keys[0]
        raise TypeError(f"Parameter {self.name} takes {self.type.__name__}, not {type(value).__name__} ({value!r})")


_MISSING = object()


def parameterNodeWrapper(cls: type) -> type:
    """Turn the annotations of `cls` into typed properties over a parameter node. The annotations are read at first use,
    so that the class can be defined where the node classes they name do not exist."""
    assigned = {name: cls.__dict__.get(name, _MISSING) for name in cls.__annotations__}

    def parameters() -> dict[str, _Parameter]:
        cached = cls.__dict__.get("_parameters")
        if cached is None:
            hints = typing.get_type_hints(cls, include_extras=True)
            cached = {name: _Parameter(name, hint, assigned[name]) for name, hint in hints.items()}
            cls._parameters = cached  # type: ignore[attr-defined]
        return cached

    def initialize(self: Any, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        for parameter in parameters().values():
            if not parameter.is_in(parameterNode):
                parameter.write(parameterNode, parameter.default)

    def accessor(name: str) -> property:
        return property(
            lambda self: parameters()[name].read(self.parameterNode),
            lambda self, value: parameters()[name].write(self.parameterNode, value),
        )

    def forward(name: str) -> Callable[..., Any]:
        return lambda self, *args: getattr(self.parameterNode, name)(*args)

    for name in assigned:
        setattr(cls, name, accessor(name))
    cls.__init__ = initialize  # type: ignore[misc]
    for name in ("StartModify", "EndModify", "AddObserver", "RemoveObserver", "Modified"):
        setattr(cls, name, forward(name))
    cls.getValue = lambda self, name: parameters()[name].read(self.parameterNode)  # type: ignore[attr-defined]
    cls.setValue = lambda self, name, value: parameters()[name].write(self.parameterNode, value)  # type: ignore[attr-defined]
    cls.default = lambda self, name: Default(parameters()[name].default)  # type: ignore[attr-defined]
    return cls
