"""«Look»: images, maps and the deformation of a result in the slice views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from .looks import Look, looks
from .repairs import hide_from_selectors
from .shown_result import ShownResult

_FLICKER_MS = 500
_LAYOUT_MS = 100


class ViewSection:
    """Each way of looking is a button that stays down while it is shown. Nothing is shown before one is pressed."""

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self._shown: ShownResult | None = None
        self._look: Look | None = None
        self._setting = False
        self._timer = qt.QTimer()
        self._timer.timeout.connect(self._flicker)
        self._looks = looks()
        for look in self._looks:
            self._button(look).clicked.connect(self._chooser(look))
        for mode, button in (("grid", ui.gridButton), ("glyphs", ui.glyphsButton)):
            button.clicked.connect(lambda *_args, mode=mode: self._deform(mode))
        ui.splitAxisComboBox.addItems([_("Right | left"), _("Front | back"), _("Lower | upper")])
        ui.splitAxisComboBox.currentIndexChanged.connect(self._slide)
        ui.viewSlider.valueChanged.connect(self._slide)
        ui.threeUpButton.clicked.connect(self._three_up)
        ui.restoreViewsButton.clicked.connect(self.restore)
        self.show(None)

    def show(self, shown: ShownResult | None) -> None:
        """Look at another result from now on, or at none."""
        self._shown, self._look = shown, None
        self._timer.stop()
        self._release()
        self.update()

    def pause(self) -> None:
        """The panel is left: the images stand still."""
        if self._look is not None and self._look.button == "flickerButton":
            self._look = None
        self._timer.stop()
        self.update()

    def restore(self, *_args: Any) -> None:
        """Show what the views showed before."""
        self.pause()
        self._look = None
        if self._shown is not None:
            self._shown.close()
        self._release()
        self.update()

    def leave_three_up(self) -> None:
        """Go back to the layout that there was before, if the views are side by side now."""
        if self.ui.threeUpButton.checked:
            self.ui.threeUpButton.checked = False
            self._three_up()

    def _release(self) -> None:
        """Nothing is shown any more of what stays until its button is pressed again."""
        if self.ui.threeUpButton.checked:
            _fit()
        for button in (self.ui.gridButton, self.ui.glyphsButton, self.ui.outlinesButton, self.ui.threeUpButton):
            button.checked = False

    def update(self) -> None:
        """Press and enable the buttons as it is, and say what is seen."""
        ui, look, shown = self.ui, self._look, self._shown
        hide_from_selectors(ui, shown.made if shown is not None else [])
        possible = shown is not None and shown.can_be_looked_at
        for other in self._looks:
            self._button(other).enabled = possible
            self._button(other).checked = other is look
        has_error = shown is not None and possible and shown.result.expected_error is not None
        ui.trustButton.enabled = has_error
        ui.trustButton.toolTip = (
            _("Where the registration is less sure of itself, in mm.") if has_error or not possible
            else _("This result comes without an estimate of its error.")
        )  # fmt: skip
        for button in (ui.gridButton, ui.glyphsButton, ui.threeUpButton):
            button.enabled = possible
        ui.restoreViewsButton.enabled = possible or (shown is not None and shown.is_shown)
        ui.viewSlider.enabled = look is not None and bool(look.slider)
        ui.viewSliderLabel.text = look.slider if look is not None and look.slider else _("Opacity:")
        ui.splitAxisComboBox.visible = look is not None and look.button == "splitButton"
        words = shown.changed if shown is not None else ""
        if look is not None and shown is not None and possible:
            names = {role: shown.node(role).GetName() for role in ("fixed", "moving")}
            words = look.words.format(**names)
        self._say(words)

    def attempt(self, action: Callable[[Any], Any]) -> bool:
        """Do something with the result's review; what is wrong with the input is told. Returns whether it was done."""
        if self._shown is None or not self._shown.can_be_looked_at:
            self._say(self._shown.changed if self._shown is not None else "")
            return False
        try:
            with slicer.util.WaitCursor():
                action(self._shown.review)
        except InputError as error:
            self._say(str(error))
            return False
        return True

    def _button(self, look: Look) -> Any:
        return getattr(self.ui, look.button)

    def _say(self, text: str) -> None:
        self.ui.legendLabel.text = text
        self.ui.legendLabel.visible = bool(text)

    def _chooser(self, look: Look) -> Callable[..., None]:
        return lambda *_args: self._choose(look)

    def _choose(self, look: Look) -> None:
        """Show it; if it is shown already, go back to the overlay."""
        look = self._looks[0] if look is self._look else look
        self._timer.stop()
        self._setting = True
        self.ui.viewSlider.value = look.start
        self.ui.viewSlider.tracking = look.live
        self._setting = False
        self._look = look if self.attempt(lambda review: self._draw(review, look)) else None
        message = self.ui.legendLabel.text
        self.update()
        if self._look is None:
            self._say(message)
        elif look.button == "flickerButton":
            self._timer.start(_FLICKER_MS)

    def _slide(self, *_args: Any) -> None:
        look = self._look
        if look is not None and look.slider and not self._setting:
            self.attempt(lambda review: self._draw(review, look))

    def _draw(self, review: Any, look: Look) -> None:
        look.show(review, self.ui.viewSlider.value / 100, max(self.ui.splitAxisComboBox.currentIndex, 0))

    def _flicker(self) -> None:
        if not self.attempt(lambda review: review.flicker()):
            self._timer.stop()

    def _deform(self, mode: str) -> None:
        ui = self.ui
        pressed = {"grid": ui.gridButton, "glyphs": ui.glyphsButton}
        on = bool(pressed[mode].checked)
        for other, button in pressed.items():
            button.checked = on and other == mode
        self.attempt(lambda review: review.deformation(mode if on else "off"))

    def _three_up(self, *_args: Any) -> None:
        if self.ui.threeUpButton.checked:
            self.attempt(lambda review: review.three_up())
        else:
            self.attempt(lambda review: review.restore_layout())
        _fit()


def _fit() -> None:
    """Show the images whole again, once the views of the new layout have their sizes."""
    if slicer.app.layoutManager() is not None:  # there is none without a main window
        qt.QTimer.singleShot(_LAYOUT_MS, slicer.util.resetSliceViews)
