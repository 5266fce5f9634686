"""Random streams: every number drawn anywhere in hopscope comes from a stream named by what it is for.

Names are hashed with BLAKE2, so a stream depends on its name alone: not on the process, the order of
calls, the number of workers, or Python's salted `hash()`.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, no NaN. Equal values give equal text.

    Raises ValueError on NaN or infinity, TypeError on what JSON cannot say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(*parts: Any, size: int = 16) -> str:
    """Return a hexadecimal BLAKE2 digest of `parts` (anything JSON can say), `2 * size` characters long."""
    return hashlib.blake2b(canonical_json(list(parts)).encode(), digest_size=size).hexdigest()


def stream(*name: Any) -> torch.Generator:
    """Return a fresh CPU generator for the stream called `name`, e.g. `stream(task.config(), seed, "train", 3)`."""
    import torch  # here: keys and studies need the names only, and answer without waiting for torch

    return torch.Generator().manual_seed(int(digest(*name, size=8), 16) >> 1)


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Start the global generators of torch (CPU), NumPy and Python from `seed`, and leave each as it was."""
    import numpy as np  # here, as above
    import torch

    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(kept[0])
        np.random.set_state(kept[1])
        random.setstate(kept[2])
