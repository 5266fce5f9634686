"""What the command line names: a model in a table or a file, and graphs in a file."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from suite.models import build, resolve
from suite.refs import load
from suite.rng import digest

PARTS = [Data, DataEdgeAttr, DataTensorAttr, GlobalStorage]  # what a saved Data is made of beside tensors


def named_model(name: str, sizes: tuple[int, int, int, int], seed: int = 0, weights: Path | None = None) -> nn.Module:
    """Return the model called `name`: one of the table or a class `file.py:Name`, made with `sizes`, or a module that is there.

    `sizes` are in_channels, hidden_channels, num_layers and out_channels. Initial weights depend on `name` and `seed`; `weights`
    (a state dict, .safetensors or .pt) replaces them. Raises ValueError, ImportError or OSError where there is no such model,
    or the weights are those of another.
    """
    found = load(name) if ":" in name else None
    if isinstance(found, nn.Module):
        model = found
    else:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(digest("diagnose", name, seed, size=8), 16) >> 1)
            model = build(resolve(name), *sizes)
    if weights is not None:
        try:
            model.load_state_dict(_state_dict(weights))
        except (RuntimeError, AttributeError, TypeError, UnpicklingError) as error:
            raise ValueError(f"weights in {weights.name} are not those of {type(model).__name__}: {_line(error)}") from error
    return model


def _state_dict(path: Path) -> dict[str, Tensor]:
    read = load_file if path.suffix == ".safetensors" else torch.load
    found: dict[str, Tensor] = read(path)
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def read_graphs(path: Path) -> list[Data]:
    """Return the graphs of a .pt file, which holds a `Data` or a list of them.

    Read as tensors and `Data` alone, so that a file cannot run code. Raises OSError where it cannot be read, and ValueError where
    it holds anything else.
    """
    try:
        with torch.serialization.safe_globals(PARTS):
            found: Any = torch.load(path)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path.name} holds no Data that can be read safely; save it as torch.save(data, path)") from error
    graphs = [found] if isinstance(found, Data) else found
    if not (isinstance(graphs, list) and graphs and all(isinstance(graph, Data) for graph in graphs)):
        raise ValueError(f"{path.name}: must hold a Data or a list of them, holds {type(found).__name__}")
    return graphs
