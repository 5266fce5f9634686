"""An engine, measures and certificates that do nothing but misbehave on request: for tests of the runner.

A cell says in its model's settings what is to happen, by seed: {"does": {"1": "raise"}, "seconds": 0.1, "trace": FILE}.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from suite.cell import Cell, ModelRef, Protocol, TaskRef
from suite.worker import Parts

PARTS = Parts("fake_parts", "fake_parts", "fake_parts")
VERSION = 1
ALL_SHORTCUTS = frozenset({"sloth"})


@dataclass
class Quiet:
    """Stands for a task that nobody draws from: the real ones need PyG, which takes seconds to import."""

    number: int = 0
    certifies: bool = True


def cells_of(num_seeds: int, does: dict[str, str] | None = None, *, condition: int = 0, **settings: Any) -> tuple[Cell, ...]:
    """Return the cells of one condition, which do as told."""
    task = TaskRef(ref="fake_parts:Quiet", params={"number": condition, "certifies": True}, version=1)
    model = ModelRef(ref="fake_parts:Model", settings={"does": does or {}} | settings, version=1)
    return tuple(
        Cell(task=task, model=model, num_layers=1, hidden_channels=4, seed=seed, protocol=Protocol(max_steps=10))
        for seed in range(num_seeds)
    )


def task_of(cell: Cell) -> Quiet:
    task: Quiet = cell.task.load()
    return task


def initial_model(cell: Cell) -> nn.Module:
    torch.manual_seed(cell.seed)
    return nn.Linear(3, 2).eval()


def slowness() -> float:
    return 2.0


def step_seconds(cells: Sequence[Cell]) -> float:
    _misbehave(cells[0])
    time.sleep(cells[0].model.settings.get("seconds", 0.0))
    return float(cells[0].model.settings["seconds"])


def settings() -> dict[str, str]:
    return {"float32_matmul_precision": torch.get_float32_matmul_precision()}


def train(cells: Sequence[Cell], on_done: Callable[[Any], None], *, on_step: Callable[[int, int], None]) -> None:
    for cell in cells:
        _trace(cell, f"start {len(cells)} {cell.seed}")
        time.sleep(cell.model.settings.get("seconds", 0.0))
        _misbehave(cell)
        on_step(5, 10)
        diverges = _told(cell) == "diverge"
        trained = initial_model(cell)
        trained.bias.data += 1 if not diverges else float("nan")
        score = {"loss": float("nan") if diverges else 0.5, "score": 0.25 * len(cells), "skill": 0.0}
        metrics = {"test": score, "stopped": "diverged" if diverges else "budget", "steps": 10}
        status = "diverged" if diverges else "ok"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cost = {"seconds": time.perf_counter(), "process": os.getpid(), "peak_memory_mb": peak}
        curve = {"step": [5, 10]}
        on_done(SimpleNamespace(cell=cell, status=status, metrics=metrics, curve=curve, cost=cost, trained=trained))


def _told(cell: Cell) -> str:
    return str(cell.model.settings["does"].get(str(cell.seed), ""))


def _trace(cell: Cell, text: str) -> None:
    if path := cell.model.settings.get("trace"):
        with open(path, "a") as file:
            file.write(f"{cell.condition} {text}\n")


def _misbehave(cell: Cell) -> None:
    told = _told(cell)
    if told.startswith("once "):
        mark = Path(cell.model.settings["trace"] + f".{cell.seed}")
        told = "" if mark.exists() else told.removeprefix("once ")
        mark.touch()
    if told == "raise":
        raise ZeroDivisionError("one over nothing")
    if told == "oom":
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    if told == "unavailable":
        from suite.task import DataUnavailable

        raise DataUnavailable("no network, no copy")
    if told == "upset":
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(2)
    if told == "gulp":
        from suite.engine.machine import keep_freed_memory

        keep_freed_memory()
        torch.ones(75 * 2**20)  # 300 MB
    if told == "hang":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        time.sleep(600)
    if told == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if told == "exit":
        os._exit(7)


def _sum(model: nn.Module) -> dict[str, Any]:
    return {"sum": sum(p.double().sum().item() for p in model.parameters()), "nothing": float("nan")}


MEASURES = {"sum": SimpleNamespace(version=2, run=_sum, rewired=False)}


def measure(name: str, _task: Quiet, _seed: int, initial: nn.Module, trained: nn.Module) -> dict[str, Any]:
    run = MEASURES[name].run
    return {"initial": run(initial), "trained": run(trained)}


def certify(task: Quiet) -> dict[str, Any]:
    if not task.certifies:
        raise ArithmeticError("not certifiable")
    return {"verdict": "certified", "number": task.number}
