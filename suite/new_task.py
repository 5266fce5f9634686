"""A task to begin with: a file that keeps the contract as it is written, and its test."""

from __future__ import annotations

import keyword
from pathlib import Path

TASK = '''"""{words}: say what is asked, which paper it is from, and what is different there."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from suite.task import Task


class {name}(Task):
    """x = [class, one-hot | source flag | read-out flag] on a ring; guessing is right once in `num_classes`.

    `python run_all.py certify {module}.py:{name}` says what it needs: here no edges, for the flag gives the source away.
    """

    hops: int = Field(5, ge=2, description="distance from the source to the read-out node")  # fields are parameters
    num_classes: int = Field(5, ge=2, description="classes of a token")

    def sample(self, rng: torch.Generator) -> Data:
        node = torch.arange(2 * self.hops)  # node 0 answers; all degrees are equal, so that none gives the source away
        classes = torch.randint(self.num_classes, node.shape, generator=rng)  # randomness comes from rng alone
        tokens = F.one_hot(classes, self.num_classes) * (node > 0).unsqueeze(1)  # the node that answers knows nothing
        flags = torch.stack([node == self.hops, node == 0], dim=1)
        return Data(
            x=torch.cat([tokens, flags], dim=1).float(),  # [num_nodes, num_classes + 2]
            edge_index=to_undirected(torch.stack([node, node.roll(-1)])),  # both directions, no self-loops
            y=classes[[self.hops]],  # [num_readouts], long: classes; for targets declare loss = "mse"
            readout_index=node[[0]],
            source_index=node[[self.hops]],  # breadth-first search must find it `hops` away
        )
'''

TEST = '''"""Facts about {words} that can be worked out by hand."""

import torch
from {module} import {name}

from suite.testing import check_task


def test_it_keeps_the_contract_of_tasks() -> None:
    check_task({name}())


def test_the_answer_is_the_class_of_the_flagged_node() -> None:
    graph = {name}(hops=5, num_classes=4).sample(torch.Generator().manual_seed(0))
    (flagged,) = graph.x[:, 4].nonzero().flatten().tolist()
    assert graph.x[flagged, :4].argmax() == graph.y.item()
    assert flagged == graph.source_index.item()
'''


def write_task(name: str, folder: Path) -> tuple[Path, Path]:
    """Write `name`.py and its test into `folder`, and return their paths.

    Raises ValueError for a name that no module can have, and where one of the files is there already; OSError where they cannot
    be written.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise ValueError(f"NAME: must be a module's name in lower case, such as path_parity; got '{name}'")
    paths = folder / f"{name}.py", folder / f"test_{name}.py"
    if there := [str(path) for path in paths if path.exists()]:
        raise ValueError(f"{there[0]} is there already; choose another name or folder")
    for path, template in zip(paths, (TASK, TEST), strict=True):
        path.write_text(template.format(name=class_name(name), module=name, words=name.replace("_", " ")), encoding="utf-8")
    return paths


def class_name(name: str) -> str:
    """Return the class of the module `name`: PathParity for path_parity."""
    return "".join(part.capitalize() for part in name.split("_"))
