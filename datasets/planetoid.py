"""Planetoid: Cora and CiteSeer, one labelled graph each, for accuracy by depth. Loaded by PyG's own class.

Yang et al. (2016), arXiv:1603.08861: 20 training nodes a class, 500 for validation, 1,000 for the test; rows of x sum
to 1.

The data are looked for under the folder that the environment variable HOPSCOPE_DATA_ROOT names, `data` where it is
not set, as `planetoid/Cora/raw` or `Cora/raw`. PyG writes beside the raw files it reads, so it is given a copy in the
user's cache. Where nothing is found the files are fetched from their public repository.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
import urllib.request
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field
from torch_geometric import datasets as pyg
from torch_geometric.data import Data
from torch_geometric.transforms import NormalizeFeatures

from suite.task import Block, DataUnavailable, Split, Task

DATA_ROOT = "HOPSCOPE_DATA_ROOT"
TIMEOUT = 10  # seconds the network may be silent
NUM_CLASSES = {"Cora": 7, "CiteSeer": 6}
FILES = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")


class Planetoid(Task):
    """One graph whose splits are masks: x [1, num_nodes, in_channels], y at the nodes of the split."""

    fixed: ClassVar[bool] = True
    name: Literal["Cora", "CiteSeer"] = Field("Cora", description="data set")
    split: Split = Field("train", description="whose nodes are asked; set by `at`")

    @property
    def title(self) -> str:
        return self.name

    @property
    def out_channels(self) -> int:
        return NUM_CLASSES[self.name]

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"disconnected"})  # Cora has 78 components, CiteSeer 438

    def at(self, split: Split, block: int) -> Self:
        return self.model_copy(update={"split": split})

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        """Return the graph, the same at every draw. Raises DataUnavailable where it is not to be had."""
        data = _load(self.name, os.environ.get(DATA_ROOT, "data"))
        mask = data.val_mask if self.split == "validation" else data[f"{self.split}_mask"]
        asked = mask.nonzero().flatten()
        x, y = data.x.expand(num_graphs, -1, -1), data.y[asked].expand(num_graphs, -1)
        return Block(data.edge_index, x, y, asked)


@cache
def _load(name: str, root: str) -> Data:
    places = Path(root) / "planetoid" / name / "raw", Path(root) / name / "raw"
    raw = next((place for place in places if _complete(place, name)), None)
    folder = cache_folder() / f"{name}-{_digest(raw, name) if raw else 'fetched'}"
    if not folder.exists():
        _prepare(folder, name, raw)
    data: Data = NormalizeFeatures()(pyg.Planetoid(str(folder), name)[0])
    return data


def _complete(raw: Path, name: str) -> bool:
    return all((raw / f"ind.{name.lower()}.{part}").is_file() for part in FILES)


def cache_folder() -> Path:
    """Return where prepared data are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hopscope"


def _digest(raw: Path, name: str) -> str:
    """Return a digest of the raw files, so that another copy is another folder of the cache."""
    content = b"".join((raw / f"ind.{name.lower()}.{part}").read_bytes() for part in FILES)
    return hashlib.sha256(content).hexdigest()[:12]


def _prepare(folder: Path, name: str, raw: Path | None) -> None:
    """Make `folder` as PyG wants it; it appears when it is complete, so that no other worker meets a half-made one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        made = Path(temporary) / "made"
        target = made / name / "raw"
        target.mkdir(parents=True)
        for part in FILES:
            file = f"ind.{name.lower()}.{part}"
            if raw:
                shutil.copyfile(raw / file, target / file)
            else:
                (target / file).write_bytes(_fetch(name, file))
        with contextlib.redirect_stderr(io.StringIO()):  # PyG announces what it does
            pyg.Planetoid(str(made), name)
        try:
            made.rename(folder)
        except OSError:
            if not folder.exists():  # or else another worker was first
                raise


def _fetch(name: str, file: str) -> bytes:
    try:
        with urllib.request.urlopen(f"{pyg.Planetoid.url}/{file}", timeout=TIMEOUT) as answer:
            content: bytes = answer.read()
            return content
    except OSError as error:
        looked = f"no planetoid/{name}/raw or {name}/raw under '{os.environ.get(DATA_ROOT, 'data')}'"
        raise DataUnavailable(f"{name}: {looked}, and it cannot be fetched ({error}); say --data-root DIR") from error
