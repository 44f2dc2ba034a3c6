"""The section «Setup»: is PyTorch there, which devices, which models. Asks a child process, imports no torch."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..registration.models import MODELS
from .process import Outcome, WorkerProcess, new_folder, remove_folder


class SetupSection:
    """Shows what the registration can use, and gets what is missing. `on_change` is called when any of it changes."""

    def __init__(self, ui: Any, on_change: Callable[[], None]) -> None:
        self.ui = ui
        self._on_change = on_change
        self._probe: WorkerProcess | None = None
        self.devices: dict[str, dict[str, Any]] = {}
        self.problem = ""
        ui.installButton.clicked.connect(self.install)
        ui.checkAgainButton.clicked.connect(self.check)
        ui.noticeButton.clicked.connect(self.show_section)

    @property
    def torch_version(self) -> str | None:
        """The version of PyTorch that is installed, or None. Reads its metadata, does not import it."""
        importlib.invalidate_caches()
        try:
            if importlib.util.find_spec("torch") is None:
                return None
            return importlib.metadata.version("torch")
        except (importlib.metadata.PackageNotFoundError, ValueError):
            return None  # a half installation

    def free_memory(self) -> dict[str, int | None]:
        """Free bytes by device, as far as the last check knows."""
        return {name: device["free"] for name, device in self.devices.items()}

    def check(self, *_args: Any) -> None:
        """Look again for PyTorch, and ask a child process for the devices."""
        self.stop()
        self.devices, self.problem = {}, ""
        if self.torch_version is not None:
            self._probe = WorkerProcess(new_folder(), lambda event: None, self._probed)
            self._probe.start("probe")
        self.update()

    def stop(self) -> None:
        """Forget a check that is under way."""
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.kill()
            remove_folder(probe.folder)

    def install(self, *_args: Any) -> None:
        """Install PyTorch through the PyTorch extension, which asks first."""
        try:
            import PyTorchUtils
        except ImportError:
            self._tell(
                _(
                    "The extension «PyTorch» is not installed. Get it in the Extensions Manager (View menu), restart "
                    "Slicer and come back here."
                )
            )
            return
        try:
            torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=">=2.6")
        except Exception as error:  # pip, the network, a half installation: for the user to read
            logging.exception("PyTorch could not be installed")
            text = _(
                "PyTorch could not be installed: {error}\nCheck the network connection. If it was installed in part, "
                "uninstall it in the module «PyTorch Utils», restart Slicer and try again."
            )
            self._tell(text.format(error=error))
            return
        if torch is None:
            return  # the user said no
        self.check()

    def show_section(self, *_args: Any) -> None:
        """Open this section."""
        self.ui.setupCollapsibleButton.collapsed = False

    def _tell(self, problem: str) -> None:
        self.problem = problem
        self.show_section()
        self.update()

    def _probed(self, outcome: Outcome) -> None:
        if self._probe is None:
            return
        remove_folder(self._probe.folder)
        self._probe = None
        if outcome.kind == "finished":
            self.devices = outcome.values["devices"]
        else:
            self.problem = _("PyTorch is installed, but does not start: {message}").format(message=outcome.message)
            logging.error("%s\n%s", self.problem, outcome.log)
        self.update()

    def update(self) -> None:
        """Show what is known."""
        version = self.torch_version
        ui = self.ui
        state = _("Version {version} is installed.").format(version=version) if version else _("Not installed.")
        ui.torchStateLabel.text = self.problem or state
        ui.installButton.visible = version is None
        ui.devicesLabel.text = self._devices_text(version)
        names = sorted(path.stem for path in MODELS.glob("*.pt"))
        ui.modelsLabel.text = ", ".join(names) or _("None packaged: registrations start from the linear alignment.")
        ui.noticeFrame.visible = version is None or bool(self.problem)
        ui.noticeLabel.text = self.problem or _("PyTorch is not installed yet: nothing can be registered without it.")
        self._on_change()

    def _devices_text(self, version: str | None) -> str:
        if self.devices:
            return "\n".join(_describe(device) for device in self.devices.values())
        return _("Looking…") if self._probe is not None else _("Unknown.")


def _describe(device: dict[str, Any]) -> str:
    if device["free"] is None:
        return device["name"]
    return _("{name}: {free:.1f} GB free").format(name=device["name"], free=device["free"] / 1e9)
