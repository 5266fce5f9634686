"""Copies of modules, a stranger's too, whatever they remember of earlier calls."""

from __future__ import annotations

import copy
import gc
from types import FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn


def copied(model: nn.Module) -> nn.Module:
    """Return a deep copy of `model`; of a tensor that it keeps from a call before, which carries that call's graph, the values.

    `copy.deepcopy` refuses those: an output or attention weights that a module remembers, a weight that `weight_norm` made.
    """
    known: dict[int, Any] = {}
    seen, ahead = {id(model)}, [model]
    while ahead:
        for found in gc.get_referents(ahead.pop()):
            if id(found) in seen or isinstance(found, type | ModuleType | FunctionType):  # none of these is copied
                continue
            seen.add(id(found))
            if not isinstance(found, Tensor):
                ahead.append(found)
            elif not found.is_leaf:
                known[id(found)] = found.detach().clone()
    return copy.deepcopy(model, known)
