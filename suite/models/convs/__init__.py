"""The message-passing layers, one a file, and the table of all of them."""

from suite.models.convs.base import Conv, Memory
from suite.models.convs.gat import GAT
from suite.models.convs.gated_gcn import GatedGCN
from suite.models.convs.gcn import GCN
from suite.models.convs.gcnii import GCNII
from suite.models.convs.gin import GIN
from suite.models.convs.graph_transformer import GraphTransformer
from suite.models.convs.node_wise import NodeWise
from suite.models.convs.sage import SAGE

__all__ = ["CONVS", "Conv", "Memory"]

CONVS: dict[str, type[Conv]] = {
    "gat": GAT,
    "gated_gcn": GatedGCN,
    "gcn": GCN,
    "gcnii": GCNII,
    "gin": GIN,
    "node_wise": NodeWise,
    "sage": SAGE,
    "transformer": GraphTransformer,
}
