"""What test files share as fixtures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import run_all

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def forgotten() -> Iterator[None]:
    """Know no stranger's module, and forget those imported meanwhile: other tests may have files of equal content or name."""
    _forget()
    try:
        yield
    finally:
        _forget()


def _forget() -> None:
    for name in [*sys.modules]:
        if name.startswith("hopscope_file_") or name.partition(".")[0] == "mine":
            del sys.modules[name]


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that strangers' modules were looked for in end with the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line, called in this process: here, and in the fork server, libraries are imported once for all tests."""

    def call(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        argv = [str(ROOT / "run_all.py"), *map(str, arguments)]
        with monkeypatch.context() as changed:
            changed.chdir(cwd)
            changed.setattr(sys, "argv", argv)
            capfd.readouterr()
            with forgotten():
                code = run_all.main(argv[1:])
        return subprocess.CompletedProcess(argv, code, *capfd.readouterr())

    return call


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let diagnoses take these measures alone: where a test is about one of them, the others only take time."""
    from suite import diagnosis

    def take(*names: str) -> None:
        assert {*names} <= diagnosis.MEASURES.keys() | diagnosis.FURTHER.keys()
        for table in ("MEASURES", "FURTHER"):
            known = getattr(diagnosis, table)
            monkeypatch.setattr(diagnosis, table, {name: known[name] for name in known if name in names})

    return take
