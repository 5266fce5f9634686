"""Floating-point operations of a training step, forward and backward, counted on the model's plain form.

Counted are products, where the work of these models is: 2 m n k for dense matrices, 2 nnz channels for a sparse one times
features. Sums along edges (`index_add`, `scatter_add`), by which PyG propagates, count as the sparse product that they are: 2
for each number added. What goes by element (activations, norms, a softmax) is not counted, nor the optimiser, nor what any
shortcut of the engine saves: the number belongs to the model, not to how it was trained.
"""

from __future__ import annotations

from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch_geometric.data import Data

from suite.copies import copied
from suite.engine.batches import graph_batch, takes_batch
from suite.samples import Drawn, graphs_of
from suite.task import Block

aten: Any = torch.ops.aten
SEEN = 8  # graphs of a batch that are counted, one by one, where they differ; the others are taken to be alike
PRODUCTS = (aten.mm, aten.addmm, aten._sparse_mm)
SUMS = (aten.index_add, aten.index_add_, aten.scatter_add, aten.scatter_add_)

FUSED = (aten._scaled_dot_product_flash_attention_for_cpu, aten._scaled_dot_product_flash_attention_for_cpu_backward)


def flops_per_step(model: nn.Module, drawn: Drawn) -> int:
    """Return how many operations a step on the graphs of `drawn` takes; the model and global random state stay as they were."""
    graphs = graphs_of(drawn)[: 1 if isinstance(drawn, Block) else SEEN]  # of one topology: all alike
    num_graphs = drawn.num_graphs if isinstance(drawn, Block) else len(drawn)
    model = copied(model).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return round(num_graphs * mean(_of_graph(model, graph) for graph in graphs))


def _of_graph(model: Any, graph: Data) -> int:
    given = graph_batch([graph], getattr(model, "needs", frozenset()))
    named = {"batch": given.graphs.batch} if takes_batch(model) else {}
    with torch.enable_grad(), _Counter() as counter:
        out = model(given.graphs.x, given.graphs.edge_index, **named, **given.needs)
        torch.autograd.grad(out.sum(), list(model.parameters()), allow_unused=True)
    total: int = counter.total
    return total


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what every operation takes. (PyTorch's own counter takes sparse matrices for dense, and does not see sums.)"""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.total += _flops(func.overloadpacket, args, kwargs or {}, out)
        return out


def _flops(operation: Any, args: Any, kwargs: dict[str, Any], out: Any) -> int:
    if operation in PRODUCTS:
        sparse = [a for a in args if isinstance(a, Tensor) and a.layout != torch.strided]
        if sparse:
            return 2 * int(sparse[0]._nnz()) * int(out.size(-1))
    if operation in SUMS:
        added = [a for a in (*args[1:], *kwargs.values()) if isinstance(a, Tensor) and a.is_floating_point()]
        return 2 * added[-1].numel() if added and added[-1].dim() > 1 else 0  # one number an edge: a degree
    if operation in FUSED:  # two products forward, four backward: what it computes again to save memory is not the model's
        backward = FUSED.index(operation)
        query, key = args[backward : backward + 2]
        return int(2 * (2 + 2 * backward) * query.numel() * key.size(-2))
    return int(flop_registry[operation](*args, **kwargs, out_val=out)) if operation in flop_registry else 0
