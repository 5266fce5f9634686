"""Made-up raw files of labelled graphs in their published layouts, whose real ones no test may fetch."""

import tarfile
from pathlib import Path

import numpy as np
import torch

from suite.rng import stream

NODES, FOLDS = 120, 10


def write_tolokers(root: Path) -> dict[str, np.ndarray]:
    """Write `tolokers.npz` below `root` and return its arrays: a ring with chords, edges once, ten splits as rows of masks."""
    raw, rng = root / "heterophilous" / "tolokers" / "raw", stream("tolokers")
    raw.mkdir(parents=True)
    node = torch.arange(NODES)
    places = torch.stack([torch.randperm(NODES, generator=rng) for _ in range(FOLDS)])
    arrays = {
        "node_features": torch.rand(NODES, 10, generator=rng).numpy(),
        "node_labels": (torch.rand(NODES, generator=rng) < 0.22).long().numpy(),
        "edges": torch.cat([torch.stack([node, (node + step) % NODES], dim=1) for step in (1, 7)]).numpy(),
        "train_masks": (places < 60).numpy(),
        "val_masks": ((places >= 60) & (places < 90)).numpy(),
        "test_masks": (places >= 90).numpy(),
    }
    np.savez(raw / "tolokers.npz", **arrays)
    return arrays


def write_city(root: Path, name: str) -> dict[str, torch.Tensor]:
    """Write `NAME.tar.gz` below `root` and return its tensors: a street, edges both ways, one split, ten classes."""
    raw, rng = root / "city" / name / "raw", stream("city", name)
    raw.mkdir(parents=True)
    node, place = torch.arange(NODES - 1), torch.randperm(NODES, generator=rng)
    tensors = {
        "node_features_augmented": torch.rand(NODES, 37, generator=rng),
        "edge_indices": torch.cat([torch.stack([node, node + 1]), torch.stack([node + 1, node])], dim=1),
        "10-chunk_16-hop_node_labels": torch.arange(NODES) % 10,
        "train_mask": place < 12,
        "valid_mask": (place >= 12) & (place < 24),
        "test_mask": place >= 24,
    }
    folder = root / "packed" / name
    folder.mkdir(parents=True)
    for file, tensor in tensors.items():
        torch.save(tensor, folder / f"{file}.pt")
    with tarfile.open(raw / f"{name}.tar.gz", "w:gz") as packed:
        packed.add(folder, arcname=name)
    return tensors
