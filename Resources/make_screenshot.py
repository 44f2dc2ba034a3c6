"""Takes the picture of the panel for the README and the extension index, inside Slicer:

Slicer --no-splash --additional-module-paths GradientGuidedRegistration --python-script Resources/make_screenshot.py
"""

import sys
import time
from pathlib import Path

import slicer

OUTPUT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "Screenshots" / "overview.png")


def wait_while(condition) -> None:
    """Let the application work as long as something is so."""
    while condition():
        slicer.app.processEvents()
        time.sleep(0.01)


def pause(seconds: float) -> None:
    end = time.monotonic() + seconds
    wait_while(lambda: time.monotonic() < end)


def main() -> None:
    window = slicer.util.mainWindow()
    window.resize(1280, 860)
    slicer.util.selectModule("GradientGuidedRegistration")
    panel = slicer.modules.GradientGuidedRegistrationWidget
    panel.ui.tryButton.click()
    wait_while(lambda: panel.runner.running)
    panel.ui.compareButton.click()
    wait_while(lambda: not panel.ui.plotButton.enabled)
    panel.ui.plotButton.click()
    panel.ui.gradientAfterButton.click()
    slicer.util.resetSliceViews()
    slicer.util.forceRenderAllViews()
    pause(2.0)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    if not window.grab().save(str(OUTPUT)):
        raise OSError(f"{OUTPUT} cannot be written")


main()
slicer.util.exit(0)
