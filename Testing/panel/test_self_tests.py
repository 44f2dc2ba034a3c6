"""The self-tests of the panel over the stand-in: what they name is there, and they hold before Slicer runs them."""

from __future__ import annotations

import unittest
from typing import Any

import pytest

from GradientGuidedRegistrationLib.self_tests import SelfTests

# the others are of the Logic, which has tests of its own, or are about Slicer's widgets themselves
NAMES = sorted(name for name in vars(SelfTests) if name.startswith("test_P") and name != "test_PanelLoadsItsClasses")


@pytest.mark.parametrize("name", NAMES)
def test_self_test(panel: Any, scene: Any, views: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    import slicer
    from PySide6.QtCore import QCoreApplication

    assert len(NAMES) >= 8
    monkeypatch.setattr(slicer.util, "getModuleWidget", lambda name: panel, raising=False)
    monkeypatch.setattr(slicer.app, "processEvents", QCoreApplication.processEvents, raising=False)
    # what a self-test needs of Slicer's test class, which skips outside the application
    test = type("Test", (SelfTests, unittest.TestCase), {})(name)
    result = unittest.TestResult()
    test.run(result)
    told = [text for _, text in [*result.failures, *result.errors, *result.skipped]]
    assert result.testsRun == 1 and not told, "\n".join(told)
