"""Propagation operators: where models and engine meet.

A layer is written once, in its mathematics, against the methods below. Two suppliers answer the calls:

* `GraphOperators`: any `edge_index` and `batch`, features [num_nodes, channels]. What a model's own `forward` uses.
* `SharedOperators`: a block of graphs on one topology, features [replicas, rows, channels]. What the engine uses.

Both apply the same matrices, PyG's own: `gcn_norm`, the mean and the sum over incoming edges.

The rows of a shared block are the nodes whose state is the same in all graphs, one row each, and then the other nodes, one row
for each graph, node by node. Nodes are kept in order of their distance to the read-out nodes: what is more than L - l hops away
after layer l cannot reach a read-out any more (the *cone*) and has no row.
"""

from suite.operators.base import Operators, rooted
from suite.operators.edges import EdgeList, drop_pairs
from suite.operators.graph import GraphOperators
from suite.operators.shared import SharedOperators

__all__ = ["EdgeList", "GraphOperators", "Operators", "SharedOperators", "drop_pairs", "rooted"]
