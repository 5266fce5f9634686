"""The store: one immutable JSON file per result, for all studies; whoever finishes first made it.

    store.json                                      which layout this is
    cells/ab/<key>.json                             a finished cell; <key>.<digest>.safetensors: its final weights
    measures/ab/<key>/<measure>.<version>.json      what was measured on it
    certificates/ab/<task_key>.<version>.json       what is known about a task; `.<version>.full.json`: by the full tier
    failed/ab/<key>/<n>.json                        one per failed attempt
    locks/<name>.lock  logs/<name>.<n>.log  tmp/    of running jobs

A result is written to `tmp/`, flushed to disk and *linked* to its name. Linking fails where the name exists, so a finished
file is never rewritten, whatever is killed or runs twice; locks only save the time of doing things twice. Weights carry
their digest in their name and the record names them, so a record never meets another attempt's weights.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

Tier = Literal["quick", "full"]  # of a certificate

SCHEMA = 1
STALE = 24 * 3600.0  # seconds after which a temporary file belongs to nobody alive

logger = logging.getLogger(__name__)


class StoreError(RuntimeError):
    """The folder cannot serve as a store; the message says why."""


class Store:
    """The results under `root`. Reading needs no store to be there; `prepare` makes one.

    Raises StoreError where `root` was written by a newer hopscope.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        layout = self._read(self.root / "store.json")
        if layout and layout["schema"] > SCHEMA:
            raise StoreError(f"{self.root} has layout {layout['schema']}, made by a newer hopscope; this one reads {SCHEMA}")

    def prepare(self) -> None:
        """Make the folders, and remove what killed writers left behind; raises StoreError where that is not allowed."""
        try:
            for folder in ("tmp", "locks", "logs"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            probe = self.root / "tmp" / uuid.uuid4().hex
            probe.touch()  # the folders may have been there, and not be ours to write to
            probe.unlink()
            self._commit(self.root / "store.json", {"schema": SCHEMA})
            for left in (self.root / "tmp").iterdir():
                if time.time() - left.stat().st_mtime > STALE:
                    left.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot write results to {self.root}: {error.strerror or error}") from error

    # reading

    def record(self, key: str) -> dict[str, Any] | None:
        """Return the record of cell `key`, or None; one that does not parse is set aside as `.bad` and so missing."""
        return self._read(self._path("cells", key, ".json"))

    def has(self, key: str) -> bool:
        """Whether cell `key` is finished."""
        return self._path("cells", key, ".json").exists()

    def keys(self) -> set[str]:
        """Return the keys of all finished cells, from file names alone."""
        return {path.stem for path in (self.root / "cells").glob("??/*.json")}

    def weights(self, key: str) -> dict[str, Tensor]:
        """Return the final weights of cell `key`; raises KeyError where it is not finished or its weights were pruned."""
        from safetensors.torch import load_file

        record = self.record(key)
        path = self._path("cells", key, f".{record['weights']}.safetensors") if record else None
        if path is None or not path.exists():
            raise KeyError(f"no weights of cell {key} in {self.root}")
        return load_file(path)

    def measures(self, key: str) -> dict[str, Any]:
        """Return {measure: its result} of cell `key`, of each measure the newest version."""
        newest: dict[str, int] = {}
        for name, version in self.measured(key):
            newest[name] = max(version, newest.get(name, version))
        found = {name: self._read(self._measure(key, name, version)) for name, version in newest.items()}
        return {name: result for name, result in sorted(found.items()) if result is not None}

    def measured(self, key: str) -> set[tuple[str, int]]:
        """Return the (measure, version) pairs that are there for cell `key`, from file names alone."""
        stems = (path.stem.rpartition(".") for path in self._path("measures", key).glob("*.json"))
        return {(name, int(version)) for name, _, version in stems}

    def certificate(self, task_key: str) -> dict[str, Any] | None:
        """Return the newest version of the certificate of a task, of two tiers the full one, or None."""
        versions = self.certified(task_key)
        if not versions:
            return None
        newest = max(versions)
        tier: Tier = "full" if newest in self.certified(task_key, "full") else "quick"
        return self._read(self._certificate(task_key, newest, tier))

    def certified(self, task_key: str, tier: Tier = "quick") -> set[int]:
        """Return the versions of the certificate that are there for a task, from file names alone; a full one counts as quick."""
        folder = self._path("certificates", task_key).parent
        found = (path.name.removeprefix(task_key).split(".")[1:-1] for path in folder.glob(f"{task_key}.*.json"))
        return {int(version) for version, *more in found if more or tier == "quick"}

    def failures(self, key: str) -> list[dict[str, Any]]:
        """Return the failed attempts at a cell (or at certifying a task), oldest first."""
        folder = self._path("failed", key)
        paths = sorted(folder.glob("*.json"), key=lambda path: int(path.stem))
        return [found for found in map(self._read, paths) if found is not None]

    def failed_keys(self) -> set[str]:
        """Return the keys under which attempts have failed, from folder names alone."""
        return {path.name for path in (self.root / "failed").glob("??/*")}

    # writing

    def commit_cell(self, record: dict[str, Any], weights: dict[str, Tensor]) -> bool:
        """Store a finished cell, weights first; return whether it was not there yet. `record["key"]` names it."""
        from safetensors.torch import save

        if self.has(record["key"]):
            return False
        content = save({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()})
        digest = hashlib.sha256(content).hexdigest()[:16]
        self._link(self._path("cells", record["key"], f".{digest}.safetensors"), content)
        return self._commit(self._path("cells", record["key"], ".json"), record | {"weights": digest})

    def commit_measure(self, key: str, name: str, version: int, result: dict[str, Any]) -> bool:
        """Store what a measure says of cell `key`; return whether it was not there yet."""
        return self._commit(self._measure(key, name, version), result)

    def commit_certificate(self, task_key: str, version: int, certificate: dict[str, Any], tier: Tier = "quick") -> bool:
        """Store the certificate of a task; return whether it was not there yet."""
        return self._commit(self._certificate(task_key, version, tier), certificate)

    def _certificate(self, task_key: str, version: int, tier: Tier) -> Path:
        return self._path("certificates", task_key, f".{version}.full.json" if tier == "full" else f".{version}.json")

    def commit_failure(self, key: str, failure: dict[str, Any]) -> int:
        """Store one failed attempt under the next free number, and return the number."""
        folder = self._path("failed", key)
        number = max((int(path.stem) for path in folder.glob("*.json")), default=0) + 1
        while not self._commit(folder / f"{number}.json", {"schema": SCHEMA, "key": key} | failure):
            number += 1
        return number

    def new_log(self, name: str) -> Path:
        """Create and return an empty log file for the next attempt at job `name`."""
        folder, number = self.root / "logs", 1
        while True:
            path = folder / f"{name}.{number}.log"
            with suppress(FileExistsError):
                path.touch(exist_ok=False)
                return path
            number += 1

    @contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """Hold the lock `name`; yields False where another process holds it. The kernel frees it on any death."""
        with (self.root / "locks" / f"{name}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:  # a file system without locks: work may be done twice, results stay whole
                logger.info("no locks under %s", self.root)
            yield True

    # files

    def _path(self, kind: str, key: str, suffix: str = "") -> Path:
        return self.root / kind / key[:2] / f"{key}{suffix}"

    def _measure(self, key: str, name: str, version: int) -> Path:
        return self._path("measures", key) / f"{name}.{version}.json"

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            logger.warning("%s cannot be read; it is set aside as %s.bad and made again", path, path.name)
            with suppress(OSError):
                path.replace(path.with_name(path.name + ".bad"))
            return None
        return found

    def _commit(self, path: Path, content: dict[str, Any]) -> bool:
        text = json.dumps(_finite(content), sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
        return self._link(path, text.encode() + b"\n")

    def _link(self, path: Path, content: bytes) -> bool:
        if path.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.root / "tmp" / uuid.uuid4().hex
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            _flush_folder(path.parent)
            return True
        finally:
            temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _finite(value: Any) -> Any:
    """Return `value` with NaN and infinity as None: JSON has neither."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
