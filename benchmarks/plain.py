"""The plain side: hopscope's models as a PyG user writes them, and the loop such a user trains them in.

Each class takes the settings of its twin in `suite.models` and computes the same function with PyG's own layers; the tests
copy weights over and compare losses and gradients in float64.
"""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import (
    GATConv,
    GCN2Conv,
    GCNConv,
    GINConv,
    GPSConv,
    SAGEConv,
    SimpleConv,
    global_mean_pool,
)
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import dropout_edge, to_dense_batch

from suite.cell import Cell, ModelRef, Protocol
from suite.engine import blocks
from suite.hops import hop_distance
from suite.models.mitigations import Mitigations
from suite.refs import load
from suite.task import Block, Loss, Task

GPS_NORMS: dict[str, dict[str, Any]] = {
    "batch": {"norm": "batch_norm"},
    "layer": {"norm": "layer_norm", "norm_kwargs": {"mode": "node"}},
    "none": {"norm": None},
}


# the models


def mlp(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_channels, hidden_channels), nn.ReLU(), nn.Linear(hidden_channels, out_channels))


def norm_layer(name: str, channels: int) -> nn.Module:
    """Return the norm called `name`; raises ValueError for those that PyG users do not have."""
    norms: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "none": nn.Identity}
    if name not in norms:
        raise ValueError(f"norm: a plain model has {', '.join(norms)}; got '{name}'")
    return norms[name](channels)


def conv_layer(name: str, in_channels: int, out_channels: int, index: int = 0) -> nn.Module:
    """Return PyG's layer number `index` of the kind `name`; raises KeyError where there is none."""
    heads = 4 if out_channels % 4 == 0 else 1
    made: dict[str, Callable[[], nn.Module]] = {
        "gat": lambda: GATConv(in_channels, out_channels // heads, heads),
        "gcn": lambda: GCNConv(in_channels, out_channels),
        "gcnii": lambda: GCN2Conv(in_channels, alpha=0.1, theta=0.5, layer=index + 1),
        "gin": lambda: GINConv(mlp(in_channels, out_channels, out_channels)),
        "node_wise": lambda: nn.Linear(in_channels, out_channels),
        "sage": lambda: SAGEConv(in_channels, out_channels),
    }
    return made[name]()


class PlainStack(nn.Module):
    """Twin of `suite.models.stack.Stack`."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        conv: str,
        norm: str,
        skip: str,
        readout: str,
        encoder: str,
        decoder: str,
        virtual_node: bool,
        dropout: float,
        drop_edge: float,
    ) -> None:
        super().__init__()
        if skip not in ("none", "residual"):
            raise ValueError(f"skip: a plain stack has none and residual; got '{skip}'")
        widths = [in_channels if encoder == "none" else hidden_channels] + [hidden_channels] * num_layers
        if decoder == "none":
            widths[-1] = out_channels
        self.residual, self.concat, self.dropout, self.drop_edge = skip == "residual", readout == "concat", dropout, drop_edge
        self.encoder: nn.Module = nn.Identity()
        if encoder == "mlp":
            self.encoder = mlp(in_channels, hidden_channels, hidden_channels)
        elif encoder == "linear":
            self.encoder = nn.Sequential(nn.Linear(in_channels, hidden_channels), nn.ReLU())
        self.convs = nn.ModuleList(conv_layer(conv, a, b, i) for i, (a, b) in enumerate(itertools.pairwise(widths)))
        self.norms = nn.ModuleList(norm_layer(norm, width) for width in widths[1 : None if decoder == "linear" else -1])
        self.virtual = nn.ModuleList(mlp(width, hidden_channels, width) for width in widths[:-1] if virtual_node)
        read = sum(widths) if self.concat else widths[-1]
        self.decoder = nn.Linear(read, out_channels) if decoder == "linear" else None

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        if self.training and self.drop_edge:
            edge_index = dropout_edge(edge_index, self.drop_edge, force_undirected=True)[0]
        h = x if isinstance(self.encoder, nn.Identity) else self.encoder(self._drop(x))
        hidden = [h]
        for index, conv in enumerate(self.convs):
            if len(self.virtual):
                h = h + self.virtual[index](global_mean_pool(h, batch))[batch]
            out = self._convolve(conv, self._drop(h), hidden[0], edge_index)
            if index < len(self.norms):
                out = self.norms[index](out).relu()
            if self.residual and out.size(-1) == h.size(-1):
                out = out + h
            h = out
            hidden.append(h)
        if self.decoder is not None:
            h = self.decoder(self._drop(torch.cat(hidden, dim=-1) if self.concat else h))
        return h

    def _convolve(self, conv: nn.Module, h: Tensor, initial: Tensor, edge_index: Tensor) -> Tensor:
        if isinstance(conv, GCN2Conv):
            return conv(h, initial, edge_index)  # type: ignore[no-any-return]
        return conv(h) if isinstance(conv, nn.Linear) else conv(h, edge_index)  # type: ignore[no-any-return]

    def _drop(self, h: Tensor) -> Tensor:
        return F.dropout(h, self.dropout, self.training) if self.dropout else h


class PlainTransformer(nn.Module):
    """Twin of `suite.models.transformer.Transformer`: PyG's `GPSConv`, or blocks with a distance bias, which it lacks."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int,
        *,
        heads: int,
        conv: str,
        pair_bias: str,
        distance_buckets: int,
        norm: str,
        dropout: float,
    ) -> None:
        super().__init__()
        if pair_bias not in ("none", "spd") or (pair_bias == "spd" and conv != "none"):
            raise ValueError(
                f"a plain transformer has a local channel or the bias spd, got conv '{conv}', pair_bias '{pair_bias}'"
            )
        self.buckets = distance_buckets
        self.encoder = mlp(in_channels, hidden_channels, hidden_channels)
        self.blocks = nn.ModuleList(
            BiasedBlock(hidden_channels, heads, distance_buckets, norm, dropout)
            if pair_bias == "spd"
            else GPSConv(hidden_channels, _local(conv, hidden_channels, i), heads, dropout, **GPS_NORMS[norm])
            for i in range(num_layers)
        )
        self.decoder = nn.Linear(hidden_channels, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor, hop_distance: Tensor | None = None) -> Tensor:
        h = self.encoder(x)
        bucket = None if hop_distance is None else self._bucket(hop_distance)
        for block in self.blocks:
            h = block(h, edge_index, batch) if bucket is None else block(h, batch, bucket)
        out: Tensor = self.decoder(h)
        return out

    def _bucket(self, hops: Tensor) -> Tensor:
        return torch.where(hops < 0, self.buckets - 1, hops.clamp(max=self.buckets - 2))


def _local(conv: str, channels: int, index: int) -> nn.Module | None:
    return None if conv == "none" else conv_layer(conv, channels, channels, index)


class BiasedBlock(nn.Module):
    """A post-norm transformer block with a learned bias per head and hop distance; graphs of one size."""

    def __init__(self, channels: int, heads: int, buckets: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.bias, self.dropout = nn.Embedding(buckets, heads), dropout
        self.mlp = mlp(channels, 2 * channels, channels)
        self.norm2, self.norm3 = norm_layer(norm, channels), norm_layer(norm, channels)  # numbered as in `GPSConv`

    def forward(self, x: Tensor, batch: Tensor, bucket: Tensor) -> Tensor:
        dense, mask = to_dense_batch(x, batch)
        bias = self.bias(bucket).permute(0, 3, 1, 2).flatten(0, 1)  # [graphs * heads, n, n]
        read = self.attn(dense, dense, dense, attn_mask=bias, need_weights=False)[0][mask]
        h = self.norm2(x + F.dropout(read, self.dropout, self.training))
        out: Tensor = self.norm3(h + F.dropout(self.mlp(h), self.dropout, self.training))
        return out


class PlainPropagation(nn.Module):
    """Twin of `suite.models.propagation.Propagation`."""

    def __init__(self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int) -> None:
        super().__init__()
        self.num_layers, self.conv = num_layers, SimpleConv(aggr="sum")
        self.decoder = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        edge_index, weight = gcn_norm(edge_index, num_nodes=x.size(0), dtype=x.dtype)
        for _ in range(self.num_layers):
            x = self.conv(x, edge_index, weight)
        out: Tensor = self.decoder(F.normalize(x, dim=-1))
        return out


TWINS: dict[str, type[nn.Module]] = {
    "suite.models.propagation:Propagation": PlainPropagation,
    "suite.models.stack:Stack": PlainStack,
    "suite.models.transformer:Transformer": PlainTransformer,
}


def twin(model: ModelRef, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int) -> nn.Module:
    """Return the plain twin of the model that `model` refers to, freshly initialised by PyG.

    Raises ValueError for a setting that the twin lacks, unless it is at its default.
    """
    cls, own = TWINS[model.ref], inspect.signature(load(model.ref).__init__).parameters
    known = inspect.signature(cls.__init__).parameters
    defaults = Mitigations().model_dump() | {name: setting.default for name, setting in own.items()}
    lacking = sorted(name for name, value in model.settings.items() if name not in known and value != defaults[name])
    if lacking:
        raise ValueError(f"{cls.__name__} has no '{lacking[0]}'; it has: {', '.join(list(known)[5:])}")
    settings = {name: value for name, value in model.settings.items() if name in known}
    return cls(in_channels, hidden_channels, num_layers, out_channels, **settings)


# the data and the loop


def graphs_of(task: Task, cell: Cell) -> list[Data]:
    """Return the graphs of the steps of `cell`, the very ones the engine draws, as a list of `Data`."""
    protocol = cell.protocol
    graphs: list[Data] = []
    for block in blocks(task, cell.seed, "train", protocol.max_steps * protocol.batch_size, protocol.batch_size):
        graphs += block.to_data_list() if isinstance(block, Block) else block
    if cell.model.settings.get("pair_bias") == "spd":
        known: dict[bytes, Tensor] = {}
        for graph in graphs:
            key = graph.edge_index.numpy().tobytes()
            if key not in known:
                known[key] = hop_distance(graph.edge_index, torch.arange(graph.num_nodes), graph.num_nodes)
            graph.hop_distance = known[key].unsqueeze(0)  # [1, n, n]: PyG joins a batch of them to [graphs, n, n]
    return graphs


def loss_of(model: nn.Module, batch: Batch, loss: Loss) -> Tensor:
    """Return the mean loss at the read-out nodes of `batch`."""
    named = {"hop_distance": batch.hop_distance} if "hop_distance" in batch else {}
    out = model(batch.x, batch.edge_index, batch.batch, **named)[batch.readout_index]
    return F.cross_entropy(out, batch.y) if loss == "cross_entropy" else F.mse_loss(out, batch.y.view_as(out))


def train(model: nn.Module, batches: Iterable[Batch], protocol: Protocol, loss: Loss) -> None:
    """Take one step of Adam on each of `batches`."""
    optimizer = torch.optim.Adam(model.parameters(), lr=protocol.lr, weight_decay=protocol.weight_decay)
    model.train()
    for batch in batches:
        optimizer.zero_grad()
        loss_of(model, batch, loss).backward()  # type: ignore[no-untyped-call]
        if protocol.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), protocol.clip)
        optimizer.step()


def batches_of(graphs: Sequence[Data], task: Task, protocol: Protocol) -> Iterable[Batch]:
    """Return the batches of all steps: a `DataLoader` over `graphs`, or the one graph of a fixed task over and over."""
    if task.fixed:
        return itertools.repeat(Batch.from_data_list(list(graphs)), protocol.max_steps)
    loader: Iterable[Batch] = DataLoader(graphs, protocol.batch_size, shuffle=True)
    return loader


def seconds(cells: Sequence[Cell]) -> float:
    """Return the CPU seconds that training `cells` one after another takes; graphs are drawn before the clock starts."""
    task: Task = cells[0].task.load()
    spent = 0.0
    for cell in cells:
        graphs = graphs_of(task, cell)
        start = time.process_time()
        model = twin(cell.model, graphs[0].x.size(-1), cell.hidden_channels, cell.num_layers, task.out_channels)
        train(model, batches_of(graphs, task, cell.protocol), cell.protocol, task.loss)
        spent += time.process_time() - start
    return spent
