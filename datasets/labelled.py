"""Labelled graphs beside Planetoid's: heterophilous and WebKB graphs, city networks. Loaded by PyG's own classes.

They are looked for under the data root (`datasets.stored`) as `heterophilous/NAME/raw`, `webkb/NAME/raw`, `city/NAME/raw`.
Where nothing is found PyG fetches them from their public place.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch_geometric import datasets as pyg
from torch_geometric.data import Data

from datasets.stored import data_root, stored
from suite.task import Block, Metric, Split, Task, simple_edges

Name = Literal[
    "Minesweeper", "Tolokers", "Questions", "Roman-empire", "Amazon-ratings",
    "Texas", "Cornell", "Wisconsin",
    "paris", "shanghai", "la", "london",
]  # fmt: skip


class _Source(NamedTuple):
    folder: str
    load: Callable[[str, str], Any]  # (root, name) -> a PyG data set
    classes: int
    splits: int  # how many there are


def _heterophilous(classes: int) -> _Source:
    return _Source("heterophilous", pyg.HeterophilousGraphDataset, classes, 10)


WEBKB, CITY = _Source("webkb", pyg.WebKB, 5, 10), _Source("city", pyg.CityNetwork, 10, 1)
SOURCES: dict[str, _Source] = {
    **{name: _heterophilous(2) for name in ("Minesweeper", "Tolokers", "Questions")},
    "Roman-empire": _heterophilous(18),
    "Amazon-ratings": _heterophilous(5),
    **dict.fromkeys(("Texas", "Cornell", "Wisconsin"), WEBKB),
    **dict.fromkeys(("paris", "shanghai", "la", "london"), CITY),
}


class LabelledGraph(Task):
    """One labelled graph whose splits are masks: x [1, num_nodes, in_channels], y at the nodes of the split.

    Minesweeper, Tolokers, Questions (2302.11640) have two unequal classes and are scored by ROC AUC, as published;
    Roman-empire, Amazon-ratings (there too), Texas, Cornell, Wisconsin (2002.05287) and the cities (2503.09008) by accuracy.
    `fold` is one of the ten published splits; a city has one. Edges are undirected and have no loops.

    Raises ValueError for a fold that there is not; drawing raises DataUnavailable where the data are not to be had.
    """

    fixed: ClassVar[bool] = True
    name: Name = Field("Minesweeper", description="data set")
    fold: int = Field(0, ge=0, description="which of the published splits")
    split: Split = Field("train", description="whose nodes are asked; set by `at`")

    @model_validator(mode="after")
    def _fold_is_there(self) -> Self:
        if self.fold >= SOURCES[self.name].splits:
            raise ValueError(f"fold: must be < {SOURCES[self.name].splits}, the splits of {self.name}, got {self.fold}")
        return self

    @property
    def title(self) -> str:
        return f"{self.name} (ROC AUC)" if self.metric == "roc_auc" else self.name

    @property
    def metric(self) -> Metric:
        return "roc_auc" if SOURCES[self.name].classes == 2 else "accuracy"

    @property
    def out_channels(self) -> int:
        return SOURCES[self.name].classes

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"disconnected"})

    def at(self, split: Split, block: int) -> Self:
        return self.model_copy(update={"split": split})

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        """Return the graph, the same at every draw. Raises DataUnavailable where it is not to be had."""
        data = _load(self.name, data_root())
        mask: Tensor = data.val_mask if self.split == "validation" else data[f"{self.split}_mask"]
        asked = (mask[:, self.fold] if mask.dim() == 2 else mask).nonzero().flatten()
        return Block(data.edge_index, data.x.expand(num_graphs, -1, -1), data.y[asked].expand(num_graphs, -1), asked)


@cache
def _load(name: str, root: Path) -> Data:
    source, folder = SOURCES[name], name.lower().replace("-", "_")
    inside = f"{folder}/raw"
    kept = stored(name, root, [f"{source.folder}/{inside}"], inside, lambda made: source.load(made, name))
    data: Data = source.load(kept, name)[0]
    data.x = data.x.float()
    data.edge_index = simple_edges(data.edge_index, data.num_nodes)
    return data
