"""The ways in which a node attends to nodes past its edges, one a file, and the table of all of them."""

from suite.models.attentions.base import Attention, Surroundings
from suite.models.attentions.expander import ExpanderAttention
from suite.models.attentions.nodeformer import NodeFormerAttention
from suite.models.attentions.performer import PerformerAttention
from suite.models.attentions.san import SANAttention
from suite.models.attentions.softmax import PAIR_BIASES, SoftmaxAttention

__all__ = ["ATTENTIONS", "PAIR_BIASES", "Attention", "SoftmaxAttention", "Surroundings"]

ATTENTIONS: dict[str, type[Attention]] = {
    "expander": ExpanderAttention,
    "nodeformer": NodeFormerAttention,
    "performer": PerformerAttention,
    "san": SANAttention,
    "softmax": SoftmaxAttention,
}
