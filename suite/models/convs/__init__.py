"""The message-passing layers, one a file, and the table of all of them."""

from suite.models.convs.base import Conv, Memory
from suite.models.convs.drew import DelayedDRew, DRew
from suite.models.convs.gat import GAT, OneHeadGAT
from suite.models.convs.gated_gcn import GatedGCN
from suite.models.convs.gatv2 import GATv2
from suite.models.convs.gcn import GCN
from suite.models.convs.gcnii import GCNII
from suite.models.convs.ggnn import GGNN
from suite.models.convs.gin import GIN, BatchNormGIN
from suite.models.convs.graph_transformer import GraphTransformer
from suite.models.convs.gred import GRED
from suite.models.convs.mixhop import MixHop
from suite.models.convs.node_wise import NodeWise
from suite.models.convs.pna import PNA
from suite.models.convs.sage import SAGE

__all__ = ["CONVS", "Conv", "Memory"]

CONVS: dict[str, type[Conv]] = {
    "drew": DRew,
    "drew_delay": DelayedDRew,
    "gat": GAT,
    "gated_gcn": GatedGCN,
    "gat_one_head": OneHeadGAT,
    "gatv2": GATv2,
    "gcn": GCN,
    "gcnii": GCNII,
    "ggnn": GGNN,
    "gin": GIN,
    "gin_batch_norm": BatchNormGIN,
    "gred": GRED,
    "mixhop": MixHop,
    "node_wise": NodeWise,
    "pna": PNA,
    "sage": SAGE,
    "transformer": GraphTransformer,
}
