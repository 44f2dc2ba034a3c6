"""The short list of faults; `run_all.py` tries all of them."""

from __future__ import annotations

import pytest
from faults.catalogue import FAULTS, Fault
from faults.harness import Case
from faults.many import GROWTH, growth

SHORT = [fault for fault in FAULTS if fault.short]


@pytest.fixture(scope="module")
def case(_host: object, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("faults ü"))


@pytest.mark.parametrize("fault", SHORT, ids=lambda fault: fault.name)
def test_survives(case: Case, fault: Fault) -> None:
    fault.do(case)


def test_memory_is_flat_over_many_registrations() -> None:
    assert growth(count=8, warm_up=3, voxels=24) < GROWTH
