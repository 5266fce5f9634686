"""A model of your own, beside all others: python run_all.py --study quick --model examples/my_model.py:MyNet"""

import torch
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv


class MyNet(nn.Module):
    def __init__(self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(in_channels, hidden_channels), nn.Linear(hidden_channels, out_channels)
        self.convs = nn.ModuleList(SAGEConv(hidden_channels, hidden_channels, aggr="max") for _ in range(num_layers))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.first(x)
        for conv in self.convs:
            h = h + torch.relu(conv(h, edge_index))
        return self.last(h)
