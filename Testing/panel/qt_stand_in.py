"""PySide6 in the clothes of PythonQt, and as much of ctk, qMRML and the application as the panel's .ui file names.

PythonQt shows Qt's properties as attributes (`label.text = ...`), where PySide6 has pairs of methods: every class
is subclassed with the properties of its meta-object. For tests of the wiring only; how things look and behave in the
application is for the self-tests.
"""

from __future__ import annotations

import os
import re
import weakref
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
from PySide6 import QtCore, QtUiTools, QtWidgets

application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


def as_pythonqt(base: type) -> type:
    """A subclass of a Qt class whose Qt properties are attributes, under the name of the class itself."""
    meta = base.staticMetaObject
    properties: dict[str, Any] = {"name": property(lambda self: self.objectName)}
    for one in (meta.property(index) for index in range(meta.propertyCount())):
        if one.isWritable() and not isinstance(vars(base).get(one.name()), property):
            properties[one.name()] = property(
                lambda self, one=one: one.read(self), lambda self, value, one=one: one.write(self, value)
            )
    return type(base.__name__, (base,), properties)


class _CollapsibleButton(QtWidgets.QGroupBox):
    def loaded(self) -> None:
        """The .ui file was read: its values lie in dynamic properties."""
        self.setTitle(self.property("text"))
        self.collapsed = bool(self.property("collapsed"))

    @property
    def collapsed(self) -> bool:
        return self._collapsed

    @collapsed.setter
    def collapsed(self, value: bool) -> None:
        self._collapsed = value
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            child.setMaximumHeight(0 if value else 16777215)


class _PathLineEdit(QtWidgets.QWidget):
    """A line within a box, as in ctk."""

    def loaded(self) -> None:
        self._box = QtWidgets.QComboBox(self)
        self._box.setEditable(True)
        QtWidgets.QVBoxLayout(self).addWidget(self._box)
        self.layout().setContentsMargins(0, 0, 0, 0)

    currentPath = property(lambda self: self._box.currentText(), lambda self, value: self._box.setEditText(value))


class _NodeComboBox(QtWidgets.QWidget):
    """Remembers the node and draws its name. Of classes that it does not list it has none.

    As in Slicer, it chooses another node by itself when its own leaves the scene.
    """

    currentNodeChanged = QtCore.Signal(object)

    def loaded(self) -> None:
        self._node = None
        self._model = SimpleNamespace(hiddenNodeIDs=())
        self._box = QtWidgets.QComboBox(self)
        self._box.setFocusProxy(self)  # as in Slicer
        QtWidgets.QVBoxLayout(self).addWidget(self._box)
        self.layout().setContentsMargins(0, 0, 0, 0)
        self._box.addItem(self.property("noneDisplay") or "None")

    def setMRMLScene(self, scene: Any) -> None:
        self.scene = scene
        this = weakref.ref(self)
        scene.AddObserver(scene.NodeRemovedEvent, lambda *_: this() is not None and this()._jump())

    def _jump(self) -> None:
        if self._node is not None and not self.scene.IsNodePresent(self._node):
            there = [self.scene.GetNthNode(number) for number in range(self.scene.GetNumberOfNodes())]
            self.setCurrentNode(next((node for node in there if self._lists(node)), None))

    @property
    def noneEnabled(self) -> bool:
        return bool(self.property("noneEnabled"))

    def addAttribute(self, *arguments: str) -> None:
        self.attribute = arguments

    def sortFilterProxyModel(self) -> Any:
        return self._model

    def currentNode(self) -> Any:
        return self._node

    def _lists(self, node: Any) -> bool:
        types = self.property("nodeTypes")
        if self.property("showChildNodeTypes"):
            return any(node.IsA(name) for name in types)
        return node.GetClassName() in types

    def setCurrentNode(self, node: Any) -> None:
        node = node if node is not None and self._lists(node) else None
        self._box.setItemText(0, (self.property("noneDisplay") or "None") if node is None else node.GetName())
        if node is not self._node:
            self._node = node
            self.currentNodeChanged.emit(node)


class _MRMLWidget(QtWidgets.QWidget):
    def loaded(self) -> None:
        pass

    def setMRMLScene(self, scene: Any) -> None:
        for child in self.findChildren(_NodeComboBox):
            child.setMRMLScene(scene)


CUSTOM = {
    "ctkCollapsibleButton": as_pythonqt(_CollapsibleButton),
    "ctkPathLineEdit": as_pythonqt(_PathLineEdit),
    "qMRMLNodeComboBox": as_pythonqt(_NodeComboBox),
    "qMRMLWidget": as_pythonqt(_MRMLWidget),
}
CLASSES = {
    name: as_pythonqt(getattr(QtWidgets, name))
    for name in (
        "QWidget",
        "QFrame",
        "QGroupBox",
        "QLabel",
        "QPushButton",
        "QCheckBox",
        "QComboBox",
        "QDoubleSpinBox",
        "QSlider",
        "QProgressBar",
        "QPlainTextEdit",
        "QTableWidget",
    )
} | CUSTOM


class _Loader(QtUiTools.QUiLoader):
    def createWidget(self, name: str, parent: Any = None, objectName: str = "") -> Any:
        widget = CLASSES[name](parent)  # KeyError for a class that the .ui file must not use
        widget.setObjectName(objectName)
        return widget


def load_ui(path: str) -> Any:
    text = re.sub(r"<connections>.*</connections>", "", Path(path).read_text(encoding="utf-8"), flags=re.DOTALL)
    buffer = QtCore.QBuffer()
    buffer.setData(text.encode())
    widget = _Loader().load(buffer)
    for child in [widget, *widget.findChildren(QtWidgets.QWidget)]:
        if hasattr(child, "loaded"):
            child.loaded()
    return widget


def child_widget_variables(widget: Any) -> SimpleNamespace:
    return SimpleNamespace(
        **{
            child.objectName: child
            for child in widget.findChildren(QtWidgets.QWidget)
            if isinstance(child, tuple(CLASSES.values()))
        }
    )


def qt_module() -> ModuleType:
    """The module `qt`: the classes that the panel makes itself."""
    module = ModuleType("qt")
    module.QProcess = type("QProcess", (QtCore.QProcess,), {"NotRunning": QtCore.QProcess.ProcessState.NotRunning})
    module.QTimer = QtCore.QTimer
    module.Qt = QtCore.Qt
    module.QEventLoop = type("QEventLoop", (QtCore.QEventLoop,), {"exec_": QtCore.QEventLoop.exec})
    module.QWidget, module.QComboBox = CLASSES["QWidget"], CLASSES["QComboBox"]
    module.QTableWidgetItem = QtWidgets.QTableWidgetItem
    module.QFileDialog = type(
        "QFileDialog",
        (),
        {  # gives no path, as when the user cancels
            name: staticmethod(lambda *_arguments: "") for name in ("getSaveFileName", "getExistingDirectory")
        },
    )
    return module


def connect_gui(self: Any, ui: SimpleNamespace) -> list:
    """What Slicer's parameter node does with widgets that have a `SlicerParameterName`."""
    return [_connect(self, widget) for widget in vars(ui).values() if widget.property("SlicerParameterName")]


def _connect(parameters: Any, widget: Any) -> Any:
    name, kind = widget.property("SlicerParameterName"), type(widget).__name__
    value = parameters.getValue(name)
    if kind == "_NodeComboBox":
        read, write, signal = widget.currentNode, widget.setCurrentNode, widget.currentNodeChanged
    elif kind == "QComboBox":
        members = list(type(value))
        widget.clear()
        widget.addItems([member.label() for member in members])
        read, signal = lambda: members[widget.currentIndex], widget.currentIndexChanged
        write = lambda new: setattr(widget, "currentIndex", members.index(new))  # noqa: E731
    else:
        attribute = {"QCheckBox": "checked", "QDoubleSpinBox": "value"}[kind]
        read, signal = lambda: getattr(widget, attribute), getattr(widget, "toggled", None) or widget.valueChanged
        write = lambda new: setattr(widget, attribute, new)  # noqa: E731
    write(value)
    slot = lambda *_: parameters.setValue(name, read())  # noqa: E731
    signal.connect(slot)
    tag = parameters.AddObserver("ModifiedEvent", lambda *_: write(parameters.getValue(name)))
    return lambda: (signal.disconnect(slot), parameters.RemoveObserver(tag))


def disconnect_gui(self: Any, connections: list) -> None:
    for disconnect in connections:
        disconnect()
