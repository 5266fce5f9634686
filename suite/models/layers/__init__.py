"""Building blocks with weights: each takes features of any layout, with or without a leading axis of replicas.

A plain module's weights look as PyG's do. The engine may stack the weights of several models along a new first axis
(`suite.engine.replicas`); features then carry the same axis first, and every block applies replica k's weights to replica k.
"""

from suite.models.layers.blocks import MLP, Linear, dropout, per_replica
from suite.models.layers.norms import (
    NORMS,
    BatchNorm,
    DataNorm,
    DiffGroupNorm,
    GraphNorm,
    LayerNorm,
    MeanSubtraction,
    NoNorm,
    Norm,
    PairNorm,
    find_norm,
    make_norm,
)

__all__ = [
    "MLP",
    "NORMS",
    "BatchNorm",
    "DataNorm",
    "DiffGroupNorm",
    "GraphNorm",
    "LayerNorm",
    "Linear",
    "MeanSubtraction",
    "NoNorm",
    "Norm",
    "PairNorm",
    "dropout",
    "find_norm",
    "make_norm",
    "per_replica",
]
