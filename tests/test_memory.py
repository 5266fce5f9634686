"""Peak memory: of what runs now, not of what ran before in the same process."""

import sys
from pathlib import Path

import pytest
import torch
from test_engine import make_cells, trained

from datasets import Transfer
from suite import memory
from suite.engine.machine import PeakMemory

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the peak of a process anew")
MB = 2**20
CELLS = make_cells(Transfer(hops=2), "gcn", 2, range(1), max_steps=2, eval_every=2)


@linux
def test_a_peak_is_that_since_it_was_counted_anew() -> None:
    cpu = torch.device("cpu")
    first = PeakMemory(cpu)
    start = first.megabytes()
    held = torch.ones(100 * MB // 4)
    most = first.megabytes()
    assert 95 < most - start < 120
    assert PeakMemory(cpu).megabytes() > start + 95  # it is still held
    del held
    assert first.megabytes() > start + 95  # a peak, not what is held
    assert PeakMemory(cpu).megabytes() < start + 20


@linux
def test_a_small_model_after_a_large_one_reports_less() -> None:
    large, small = ([c.model_copy(update={"hidden_channels": width}) for c in CELLS] for width in (1024, 8))
    before, most, after = (trained(cells)[0].cost["peak_memory_mb"] for cells in (small, large, small))
    assert most > before + 20  # weights, gradients, moments: 4 * 1024^2 * 4 bytes for each of two layers, at least
    assert after < most - 20


def test_where_the_system_keeps_no_such_peak_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "nothing")
    assert PeakMemory(torch.device("cpu")).megabytes() is None
    (done,) = trained(CELLS)
    assert done.cost["peak_memory_mb"] is None
    assert done.cost["seconds"] > 0
