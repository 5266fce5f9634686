"""A made-up study on disk and in memory, for tests of analysis and reports. No number here was ever measured."""

from __future__ import annotations

import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any

import torch

from suite.store import Store

HOSTILE = 'a_b*c `d` $e$ #f @g <h> [i] \\j "k" ~l é − 10% & {m} //n /*o*/'

MODELS: dict[str, tuple[str, str, list[str], float]] = {  # title, family, global channel, distance at which it gives up
    "gcn": ("GCN", "MPNN", [], 6),
    "sage": ("GraphSAGE", "MPNN", [], 7),
    "gin": ("GIN", "MPNN", [], 5),
    "gat": ("GAT", "MPNN", [], 6.5),
    "gcn_residual": ("GCN + residual", "Deep MPNN", [], 9),
    "gcn_initial": ("GCNII", "Deep MPNN", [], 10),
    "gcn_jk": ("GCN + jumping knowledge", "Deep MPNN", [], 8),
    "gcn_virtual_node": ("GCN + virtual node", "Rewired", ["virtual_node"], 14),
    "spd_transformer": ("Graph transformer", "Transformer", ["attention"], 99),
    "gps": ("GPS", "Transformer", ["attention"], 99),
    "set_transformer": ("Set transformer", "Control", ["attention"], -1),
    "mlp": ("MLP", "Control", [], -1),
}
QUICK_MODELS = ("gcn", "gcn_residual", "spd_transformer", "set_transformer", "mlp")
OPERATOR = {"MPNN": "gcn", "Deep MPNN": "gcn", "Rewired": "gcn", "Transformer": "complete", "Control": "none"}


def sha(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class MadeUpStore:
    """Holds records in memory and offers what an analysis reads of a store."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.measured: dict[str, dict[str, dict[str, Any]]] = {}
        self.failed: dict[str, list[dict[str, Any]]] = {}
        self.certificates: dict[str, dict[str, Any]] = {}

    def record(self, key: str) -> dict[str, Any] | None:
        return self.records.get(key)

    def measures(self, key: str) -> dict[str, dict[str, Any]]:
        return self.measured.get(key, {})

    def failures(self, key: str) -> list[dict[str, Any]]:
        return self.failed.get(key, [])

    def certificate(self, task_key: str) -> dict[str, Any] | None:
        return self.certificates.get(task_key)


class MadeUpStudy:
    """Collects cells, then writes `cells.json`; `store` holds the outcomes."""

    def __init__(self, title: str = "A made-up study for tests") -> None:
        self.study = {"name": "made_up", "title": title, "question": "Does the report say what the records say?"}
        self.study["file_sha256"] = sha(title)
        self.store = MadeUpStore()
        self.cells: list[dict[str, Any]] = []
        self.tasks: dict[str, dict[str, Any]] = {}

    def task(
        self, title: str, topology: str | None, hops: int | None, ref: str = "made.up:Transfer", **params: Any
    ) -> dict[str, Any]:
        params = params | ({"topology": {"kind": topology}} if topology else {}) | ({"hops": hops} if hops else {})
        key = sha("task", title, ref, params)
        entry = {"task_key": key, "task": {"ref": ref, "params": params, "version": 1, "sha256": None}}
        self.tasks.setdefault(key, entry | {"title": title, "topology": topology, "hops": hops})
        return self.tasks[key]

    def cell(
        self,
        task: dict[str, Any],
        model: str,
        seed: int,
        num_layers: int,
        depth: Any = "hops",
        section: str = "hops",
        chance: float = 0.2,
        look: tuple[str, str, list[str]] | None = None,
    ) -> dict[str, Any]:
        title, family, channel = look or MODELS[model][:3]
        condition = sha(task["task_key"], model, num_layers, section)
        cell = {
            "key": sha(condition, seed),
            "condition": condition,
            "section": section,
            "task": task["title"],
            "topology": task["topology"],
            "hops": task["hops"],
            "model": model,
            "title": title,
            "family": family,
            "told": "nothing" if family == "Control" and model != "propagation" else "edges",
            "global_channel": channel,
            "num_layers": num_layers,
            "depth": depth,
            "hidden_channels": 64,
            "seed": seed,
            "task_key": task["task_key"],
            "chance": chance,
            "ceiling": 1.0,
            "metric": "accuracy",
        }
        self.cells.append(cell)
        return cell

    def finish(
        self,
        cell: dict[str, Any],
        test: float | None,
        train: float | None = None,
        status: str = "ok",
    ) -> None:
        """Record an outcome; `test` and `train` are accuracies."""
        chance = cell["chance"]

        def scores(value: float | None) -> dict[str, Any]:
            return {"loss": None, "score": value, "skill": None if value is None else (value - chance) / (1 - chance)}

        train = test if train is None else train
        solved = test is not None and (test - chance) / (1 - chance) >= 0.9
        split = {"train": scores(train), "validation": scores(test), "test": scores(test)}
        number = len(self.store.records)
        self.store.records[cell["key"]] = {
            "schema": 1,
            "key": cell["key"],
            "status": status,
            "cell": {
                "task": self.tasks[cell["task_key"]]["task"],
                "num_layers": cell["num_layers"],
                "seed": cell["seed"],
                "model": {
                    "ref": f"made.up:{cell['model']}",
                    "settings": {"norm": "layer"},
                    "version": 1,
                    "sha256": None,
                },
                "hidden_channels": 64,
                "purpose": "report",
                "protocol": {
                    "lr": 1e-3,
                    "weight_decay": 0.0,
                    "batch_size": 64,
                    "max_steps": 1000,
                    "eval_every": 50,
                    "clip": 1.0,
                    "num_validation": 512,
                    "num_test": 1024,
                    "solved_at": 0.998,
                    "select": "best",
                },
            },
            "metrics": split
            | {
                "last": split,
                "best_step": 500,
                "steps": 500,
                "solved_step": 500 if solved else None,
                "stopped": "diverged" if status == "diverged" else "solved" if solved else "budget",
            },
            "curve": {"step": [50, 500], "train_loss": [1.0, 1.0], "validation_score": [0.2, test]},
            "cost": {
                "num_parameters": 12345,
                "steps": 500,
                "seconds": 3.5,
                "cpu_seconds": 3.4,
                "peak_memory_mb": 300.0,
            },
            "provenance": {
                "python": "3.11.2",
                "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
                "cpu": "made-up processor",
                "checkout": {"commit": "0123abc", "changes_sha256": None},
                "fingerprint": "aaaa" if number % 50 else "bbbb",
                "batch": [cell["key"]],
                "run": {"ended": f"2026-01-31T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}+00:00"},
            },
        }

    def fail(self, cell: dict[str, Any], message: str, status: str = "error") -> None:
        self.store.failed[cell["key"]] = [{"stage": "train", "status": status, "message": message}]

    def certify(self, task: dict[str, Any], verdict: str, tags: tuple[str, ...] = (), passed: bool = True) -> None:
        self.store.certificates[task["task_key"]] = {
            "schema": 1,
            "verdict": verdict,
            "tags": list(tags),
            "seconds": 2.5,
            "checks": [
                {
                    "id": "K1",
                    "name": "distinct inputs",
                    "value": 0.96,
                    "limit": "published",
                    "passed": None,
                    "detail": "x",
                },
                {
                    "id": "K2",
                    "name": "split overlap",
                    "value": 0.0 if passed else 1.0,
                    "limit": "<= .05",
                    "passed": passed,
                    "detail": "share of test inputs seen in training",
                },
                {
                    "id": "K4",
                    "name": "graph-blind MLP",
                    "value": 0.21,
                    "limit": "<= .25",
                    "passed": True,
                    "detail": "x",
                },
                {
                    "id": "K5",
                    "name": "edge-free set model",
                    "value": 0.22 if passed else 1.0,
                    "limit": "<= .25",
                    "passed": passed,
                    "detail": "3 seeds",
                },
                {
                    "id": "K11",
                    "name": "distance",
                    "value": "equal",
                    "limit": "BFS = hops",
                    "passed": True,
                    "detail": "x",
                },
            ],
        } | task

    def measure(self, cell: dict[str, Any], rng: random.Random, nan: bool = False) -> None:
        """Make up measures whose shapes are right: lists by layer 0 … L and by hop 0 … H."""
        layers, hops, family = cell["num_layers"], cell["hops"] or 8, cell["family"]
        operator = OPERATOR.get(family, "gcn")

        def state(gain: float) -> dict[str, dict[str, Any]]:
            rate = 0.12 * gain * (0.3 if family != "MPNN" else 1)
            fall = [math.exp(-rate * layer + rng.gauss(0, 0.05)) for layer in range(layers + 1)]
            recover = [min(1.0, max(0.0, 1.4 * f - 0.3)) for f in fall]
            slope = 0.15 if family in ("Transformer", "Rewired") else 0.5
            share = [10 ** (-slope * k * gain + rng.gauss(0, 0.1)) for k in range(hops + 1)]
            share = [s / sum(share) for s in share]
            source = None if family == "Control" and cell["model"] == "mlp" else math.log10(share[-1])
            return {
                "smoothing": {
                    "operator": operator,
                    "rq_gcn": [0.6 * f for f in fall],
                    "rq_mean": [0.62 * f for f in fall],
                    "rq_complete": [0.9 * f for f in fall],
                    "distance": fall,
                    "effective_rank": [1 + 10 * f for f in fall],
                    "feature_norm": [20 * f**0.5 for f in fall],
                    "constant_rq_gcn": 0.08,
                    "null_rq_gcn": 0.66,
                    "null_rq_mean": 0.67,
                    "null_rq_complete": 0.95,
                },
                "recoverability": {
                    "epsilons": [0, 1e-7, 1e-3, 1e-2],
                    "num_classes": 5,
                    "headline": None if nan else recover[-1],
                    "by_layer": {"0": [1.0] * (layers + 1), "1e-07": recover, "0.001": recover, "0.01": recover},
                },
                "influence": {
                    "hops": list(range(hops + 1)),
                    "share": share,
                    "mean_share": [s / 2 for s in share],
                    "pairs": [2] * (hops + 1),
                    "log10_norm": [math.log10(s) for s in share],
                    "log10_total": -0.1 * layers * gain + rng.gauss(0, 0.1),
                    "source_hops": hops,
                    "dead_readouts": 0,
                    "source_share": 0.0 if source is None else 10**source,
                    "log10_source_share": None if nan else source,
                },
                "operator_share": {
                    "operator": operator,
                    "num_layers": layers,
                    "source_share": share[-1] / 2,
                    "source": share[-1] / 3,
                    "log10_source_share": math.log10(share[-1] / 2),
                    "share": [s**0.9 for s in share],
                },
                "gradient": {"norm": fall, "ratio": fall[-1]},
            }

        initial, trained = state(1.0), state(0.8)
        self.store.measured[cell["key"]] = {name: {"initial": initial[name], "trained": trained[name]} for name in initial}

    def write(self, study_dir: Path) -> Path:
        """Write `cells.json`, and return the folder."""
        study_dir.mkdir(parents=True, exist_ok=True)
        grid = {"schema": 3, "study": self.study, "store": "../store", "cells": self.cells}
        text = json.dumps(grid | {"tasks": list(self.tasks.values())})
        (study_dir / "cells.json").write_text(text, encoding="utf-8")
        return study_dir

    def commit(self, store: Store) -> None:
        """Put everything that `self.store` holds into a real store."""
        store.prepare()
        for key, record in self.store.records.items():
            store.commit_cell(record, {"weight": torch.zeros(1)})
            for name, result in self.store.measured.get(key, {}).items():
                store.commit_measure(key, name, 1, result)
        for key, failures in self.store.failed.items():
            for failure in failures:
                store.commit_failure(key, failure)
        for key, certificate in self.store.certificates.items():
            store.commit_certificate(key, 1, certificate)

    def lose(self, cell: dict[str, Any]) -> None:
        """Forget the outcome of a cell."""
        self.store.records.pop(cell["key"], None)
        self.store.measured.pop(cell["key"], None)


def hop_study(
    models: tuple[str, ...] = QUICK_MODELS,
    hops: tuple[int, ...] = (3, 5, 8),
    seeds: int = 5,
    depths: tuple[str, ...] = ("hops", "2*hops"),
    tasks: tuple[tuple[str, str], ...] = (("transfer (content)", "ring"),),
) -> MadeUpStudy:
    """Return a study of tasks x hops x models x depth rules x seeds, all finished and measured."""
    study, rng = MadeUpStudy(), random.Random(0)
    for title, topology in tasks:
        for hop in hops:
            task = study.task(title, topology, hop)
            study.certify(task, "content-addressed", ("content-addressed",), passed=False)
            for model in models:
                for rule in depths:
                    layers = hop * (2 if rule == "2*hops" else 1)
                    limit = MODELS[model][3] * (1.3 if rule == "2*hops" else 1)
                    for seed in range(seeds):
                        cell = study.cell(task, model, seed, layers, rule)
                        wins = hop < limit + rng.gauss(0, 0.8) or model == "set_transformer"
                        study.finish(cell, round(0.99 + 0.01 * rng.random() if wins else 0.2 + 0.02 * rng.random(), 4))
                        study.measure(cell, rng)
    return study


def add_depth_study(study: MadeUpStudy, seeds: int = 5) -> None:
    """Add Cora cells by depth, with a plain GCN that cannot fit when deep."""
    task, rng = study.task("node labels", "Cora", None, "made.up:Planetoid", name="Cora"), random.Random(1)
    test = {
        "gcn": (0.81, 0.75, 0.4, 0.2),
        "gcn_residual": (0.81, 0.79, 0.74, 0.4),
        "propagation": (0.78, 0.81, 0.8, 0.8),
    }
    train = {"gcn": (1.0, 1.0, 0.6, 0.2), "gcn_residual": (1.0, 1.0, 1.0, 0.5), "propagation": (0.99, 0.98, 0.98, 0.97)}
    look = {"propagation": ("Propagation only", "Control", [])}
    for model, scores in test.items():
        for i, layers in enumerate((2, 4, 8, 16)):
            for seed in range(seeds):
                cell = study.cell(task, model, seed, layers, layers, "depth", 1 / 7, look.get(model))
                noise = rng.gauss(0, 0.005)
                study.finish(cell, scores[i] + noise, min(1.0, train[model][i] + noise))
                study.measure(cell, rng)
