"""Two-radius: many labels have to pass a few nodes, one or two hops away. Load without distance.

After arXiv:2511.20406. Different here: ids are fresh random vectors, of a width that is a knob of its own, and instead of an id a
private path may say which label is asked for, so that edges are needed.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch_geometric.utils import degree, to_dense_adj

from datasets.chance import commonest_share
from datasets.lookup import looked_up
from datasets.noise import NoiseField, noise_in_title, with_noise
from datasets.radius import RadiusGraph, radius_edges
from datasets.twins import WithAnswer
from suite.task import Block, Task


class TwoRadius(Task):
    """x = [label, one-hot | asking flag | id, if matched by id]; every asking node is asked for the label of its match.

    `load` labelled nodes are joined to all `centres`, and these to all who ask; ids are N(0, 1) vectors. Matched by `path`
    there is one more node between each asking node and its match, whose label reaches it by that way alone, beside all labels
    from the centres. By id a set of nodes solves it, and it measures load; by path it does not.

    Raises ValueError for several centres, or a match by path, at one hop.
    """

    hops: int = Field(2, ge=1, le=2, description="2; or 1, where the only centre asks")
    matched_by: Literal["id", "path"] = Field("id", description="how the label that is asked for is told from the others")
    load: int = Field(12, ge=2, description="labels that pass the centres")
    centres: int = Field(1, ge=1, description="nodes that they pass")
    id_width: int = Field(8, ge=1, description="width of an id")
    num_classes: int = Field(10, ge=2, description="classes of a label")
    noise: NoiseField = 0.0

    @model_validator(mode="after")
    def _one_hop_has_one_centre(self) -> Self:
        self._graph()
        return self

    @property
    def title(self) -> str:
        return f"{'one' if self.hops == 1 else 'two'}-radius (by {self.matched_by}, load {self.load}{noise_in_title(self.noise)})"

    @property
    def chance(self) -> float:
        """By path nothing tells the labels apart but how often each occurs."""
        return 1 / self.num_classes if self.matched_by == "id" else commonest_share(self.load, self.num_classes)

    @property
    def near_chance(self) -> float:
        """What lies nearer is independent of the answer, whose classes are alike."""
        return 1 / self.out_channels

    @property
    def token_channels(self) -> slice:
        return slice(0, self.num_classes)

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block:
        graph, width = self._graph(), self.id_width if self.matched_by == "id" else 0
        labels = torch.randint(self.num_classes, (num_graphs, self.load), generator=rng)
        x = torch.zeros(num_graphs, graph.num_nodes, self.num_classes + 1 + width)
        x[:, graph.labelled, : self.num_classes] = torch.eye(self.num_classes)[labels]
        x[:, graph.asked, self.num_classes] = 1
        match = torch.arange(self.load).expand(num_graphs, -1)
        if width:
            ids = torch.randn(num_graphs, self.load, width, generator=rng)
            match = torch.rand(num_graphs, self.load, generator=rng).argsort(1)[:, : graph.asked.numel()]
            x[:, graph.labelled, -width:] = ids
            x[:, graph.asked, -width:] = ids.gather(1, match.unsqueeze(2).expand(-1, -1, width))
        x[:, :, self.token_channels] = with_noise(x[:, :, self.token_channels], self.noise, rng)
        return Block(graph.edge_index, x, labels.gather(1, match), graph.asked, graph.labelled)

    def witness(self, block: Block) -> Tensor:
        """Look the id up; or go on by the neighbour of two edges that carries nothing."""
        if self.matched_by == "id":
            return looked_up(block.x[:, :, -self.id_width :], block.x[:, :, self.token_channels], block.readout_index)
        adjacent = to_dense_adj(block.edge_index, max_num_nodes=block.num_nodes)[0].to(block.x.dtype)
        between = (degree(block.edge_index[0], block.num_nodes) == 2) & ~block.x.any(2).any(0)
        ways = (adjacent * between) @ adjacent
        found: Tensor = ways[block.readout_index] @ block.x[:, :, : self.num_classes]
        return found

    def answer_twin(self) -> Task:
        return TwoRadiusWithAnswer(**dict(self))

    def content_twin(self) -> Task:
        wide = {"matched_by": "id", "id_width": 2 * self.id_width}  # narrow ids are confused by a control that can find them
        return self if self.matched_by == "id" else self.model_copy(update=wide)

    def _graph(self) -> RadiusGraph:
        return radius_edges(self.hops, self.load, self.centres, self.matched_by == "path")


class TwoRadiusWithAnswer(WithAnswer, TwoRadius):
    """Two-radius, the answer written on every node that asks."""
