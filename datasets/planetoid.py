"""Planetoid: Cora and CiteSeer, one labelled graph each, for accuracy by depth. Loaded by PyG's own class.

Yang et al. (2016), arXiv:1603.08861: 20 training nodes a class, 500 for validation, 1,000 for the test; rows of x sum
to 1.

The data are looked for under the data root (`datasets.stored`) as `planetoid/Cora/raw` or `Cora/raw`. Where nothing is found
the files are fetched from their public repository.
"""

from __future__ import annotations

import urllib.request
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field
from torch_geometric import datasets as pyg
from torch_geometric.data import Data
from torch_geometric.transforms import NormalizeFeatures

from datasets.stored import data_root, stored
from suite.task import Block, Split, Task

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
        data = _load(self.name, data_root())
        mask = data.val_mask if self.split == "validation" else data[f"{self.split}_mask"]
        asked = mask.nonzero().flatten()
        x, y = data.x.expand(num_graphs, -1, -1), data.y[asked].expand(num_graphs, -1)
        return Block(data.edge_index, x, y, asked)


@cache
def _load(name: str, root: Path) -> Data:
    files = [f"ind.{name.lower()}.{part}" for part in FILES]
    folder = stored(
        name,
        root,
        (f"planetoid/{name}/raw", f"{name}/raw"),
        f"{name}/raw",
        lambda made: pyg.Planetoid(made, name),
        files=files,
        fetch=lambda raw: _fetch(raw, files),
    )
    data: Data = NormalizeFeatures()(pyg.Planetoid(folder, name)[0])
    return data


def _fetch(raw: Path, files: list[str]) -> None:
    for file in files:
        with urllib.request.urlopen(f"{pyg.Planetoid.url}/{file}", timeout=TIMEOUT) as answer:
            (raw / file).write_bytes(answer.read())
