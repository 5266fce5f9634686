"""Labelled graphs by the hundred: what a whole molecule or protein is. Loaded by PyG's own classes.

They are looked for under the data root (`datasets.stored`) as `tu/NAME/raw`, `lrgb/NAME/raw` and `molecule_net/NAME/raw`. Where
nothing is found PyG fetches them from their public place. A model's answer is the mean of its outputs over the nodes of a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot
from torch_geometric import datasets as pyg
from torch_geometric.data import Data
from torch_geometric.utils import coalesce, remove_self_loops
from torch_geometric.utils.smiles import x_map

from datasets.stored import data_root, stored
from suite.score import guess, scores
from suite.task import Level, Loss, Packed, Split, Task

FOLDS = 10
CLASSES = {"MUTAG": (2, 125 / 188), "ENZYMES": (6, 1 / 6), "PROTEINS": (2, 663 / 1113)}  # and the share of the largest
ATOMS = (119, 5, 12, 12, 10, 6, 6, 2, 2)  # values of each feature of an atom, as Open Graph Benchmark counts them
PEPTIDES = {"func": 10, "struct": 11}  # answers
OF_SMILES = tuple(map(len, x_map.values()))  # values of each feature of an atom that PyG reads from a formula


class _Collection(Task):
    """A given collection of graphs: training draws from its share, validation and test ask each of theirs once."""

    level: ClassVar[Level] = "graph"
    split: Split = Field("train", description="whose graphs are asked; set by `at`")

    def at(self, split: Split, block: int) -> Self:
        return self.model_copy(update={"split": split})

    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"disconnected"})  # as are 31 graphs of ENZYMES, 46 of PROTEINS

    def given(self, split: Split) -> int:
        return len(self._graphs(split))

    def draw(self, num_graphs: int, rng: torch.Generator) -> Packed:
        """Return `num_graphs` graphs of the split, no graph twice; all of them, in order, where that many are asked.

        Raises DataUnavailable where the data are not to be had.
        """
        graphs = self._graphs(self.split)
        return graphs if num_graphs >= len(graphs) else graphs.take(torch.randperm(len(graphs), generator=rng)[:num_graphs])

    def _graphs(self, split: Split) -> Packed:
        raise NotImplementedError

    def _of_constants(self) -> float:
        """Return what the best constant answer of training scores on the test."""
        train, test = self._graphs("train").y, self._graphs("test").y
        return float(scores(guess(train, self.loss, self.out_channels).expand(1, len(test), -1), test[None], self.metric))


class GraphClasses(_Collection):
    """Classes of whole graphs of the TU collection (2007.08663): x [num_nodes, in_channels], y [1].

    MUTAG: molecules by mutagenicity; ENZYMES: proteins by the reaction that they catalyse (six classes of 100), with 18
    measured attributes a node; PROTEINS: enzyme or not. Scored by accuracy; chance is the share of the largest class. No split
    is published: test is the tenth `fold` of a stratified partition (1912.09893 asks for ten), validation the one after it.

    Drawing raises DataUnavailable where the data are not to be had.
    """

    name: Literal["MUTAG", "ENZYMES", "PROTEINS"] = Field("ENZYMES", description="data set")
    fold: int = Field(0, ge=0, lt=FOLDS, description="which tenth is the test")

    @property
    def title(self) -> str:
        return self.name

    @property
    def out_channels(self) -> int:
        return CLASSES[self.name][0]

    @property
    def chance(self) -> float:
        return CLASSES[self.name][1]

    def _graphs(self, split: Split) -> Packed:
        return _tu(self.name, data_root()).take(_fold(self.name, data_root(), self.fold, split))


class Peptides(_Collection):
    """Peptides of the Long Range Graph Benchmark (2206.08164), split as published: x [num_nodes, 174], kinds of atoms.

    `target` func: ten functions of a peptide, several at once, y [1, 10], scored by average precision; struct: eleven numbers
    about its shape, y [1, 11], scored by mean absolute error. By 2506.05971 neither needs a long range. Chance is what the best
    constant answer of training scores on the test, and so needs the data.

    Drawing, and chance, raise DataUnavailable where the data are not to be had.
    """

    target: Literal["func", "struct"] = Field("func", description="functions or shape")

    @property
    def loss(self) -> Loss:  # type: ignore[override]  # of the field `target`
        return "binary_cross_entropy" if self.target == "func" else "mae"

    @property
    def title(self) -> str:
        return f"Peptides-{self.target} ({'average precision' if self.target == 'func' else 'absolute error'})"

    @property
    def out_channels(self) -> int:
        return PEPTIDES[self.target]

    @property
    def chance(self) -> float:
        return self._of_constants()

    def _graphs(self, split: Split) -> Packed:
        return _peptides(f"Peptides-{self.target}", data_root(), split)


class Molecules(_Collection):
    """Numbers about molecules of MoleculeNet (1703.00564): x [num_nodes, 177], kinds of atoms, y [1], mean squared error.

    ESOL: log10 of how much of it water dissolves, in mol/L, of 1,128 molecules. Reading their formulas needs RDKit (`pip install
    rdkit`), the first time. The split is random, as the collection asks for: test is the tenth `fold` of ten, validation the one
    after it. Chance is what the mean of training scores on the test, and so needs the data.

    Drawing, and chance, raise DataUnavailable where the data are not to be had, or RDKit is not.
    """

    loss: ClassVar[Loss] = "mse"
    name: Literal["ESOL"] = Field("ESOL", description="data set")
    fold: int = Field(0, ge=0, lt=FOLDS, description="which tenth is the test")

    @property
    def title(self) -> str:
        return self.name

    @property
    def chance(self) -> float:
        return self._of_constants()

    @property
    def unit(self) -> str:
        return "log10 mol/L"

    def _graphs(self, split: Split) -> Packed:
        return _molecules(self.name, data_root()).take(_fold(self.name, data_root(), self.fold, split))


@cache
def _tu(name: str, root: Path) -> Packed:
    """Return all graphs; of ENZYMES with the measured attributes of nodes."""
    load = partial(pyg.TUDataset, name=name, use_node_attr=name == "ENZYMES")
    return _packed(name, root, "tu", name, load)


@cache
def _fold(name: str, root: Path, fold: int, split: Split) -> Tensor:
    """Return which graphs `split` has: a function of the classes alone, or of how many graphs there are."""
    from sklearn.model_selection import KFold, StratifiedKFold  # here: a second of every start, for two tasks

    classes = name in CLASSES
    y = (_tu if classes else _molecules)(name, root).y
    tenths = [test for _, test in (StratifiedKFold if classes else KFold)(FOLDS, shuffle=True, random_state=0).split(y, y)]
    of_split = {"test": [fold], "validation": [(fold + 1) % FOLDS]}
    mine = of_split.get(split, [k for k in range(FOLDS) if k not in (fold, (fold + 1) % FOLDS)])
    return torch.cat([torch.from_numpy(tenths[k]) for k in mine]).sort().values


@cache
def _molecules(name: str, root: Path) -> Packed:
    return _packed(name, root, "molecule_net", name.lower(), partial(pyg.MoleculeNet, name=name), OF_SMILES)


@cache
def _peptides(name: str, root: Path, split: Split) -> Packed:
    load = partial(pyg.LRGBDataset, name=name, split="val" if split == "validation" else split)
    return _packed(name, root, "lrgb", name.lower(), load)


def _packed(name: str, root: Path, place: str, folder: str, load: Callable[[str], Any], atoms: tuple[int, ...] = ATOMS) -> Packed:
    inside = f"{folder}/raw"
    return Packed.of([_graph(one, atoms) for one in load(stored(name, root, [f"{place}/{inside}"], inside, load))])


def _graph(data: Data, atoms: tuple[int, ...]) -> Data:
    """Return x, y and simple edges; edge attributes are left out, and integer features of atoms become one-hot."""
    x = data.x if data.x.is_floating_point() else torch.cat([one_hot(c, k) for c, k in zip(data.x.T, atoms, strict=True)], 1)
    edge_index = coalesce(remove_self_loops(data.edge_index)[0], num_nodes=data.num_nodes)
    return Data(x=x.float(), edge_index=edge_index, y=data.y.flatten() if data.y.numel() == 1 else data.y)
