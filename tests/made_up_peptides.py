"""Made-up raw files in the layout of the Long Range Graph Benchmark's peptides, whose real ones no test may fetch."""

from pathlib import Path

import torch

from datasets.labelled_graphs import ATOMS, PEPTIDES
from suite.rng import stream

SIZES = {"train": 130, "val": 5, "test": 7}


def write_peptides(root: Path) -> None:
    """Write both data sets below `root`: paths of 3 to 9 atoms with random features and answers."""
    for target, width in PEPTIDES.items():
        raw = root / "lrgb" / f"peptides-{target}" / "raw"
        raw.mkdir(parents=True)
        for split, count in SIZES.items():
            rng, graphs = stream(target, split), []
            for _ in range(count):
                size = int(torch.randint(3, 10, (1,), generator=rng))
                x = torch.stack([torch.randint(values, (size,), generator=rng) for values in ATOMS], dim=1)
                forth = torch.stack([torch.arange(size - 1), torch.arange(1, size)])
                edges = torch.cat([forth, forth.flip(0)], dim=1)
                y = torch.rand(1, width, generator=rng)
                y = (y < 0.4).float() if target == "func" else y
                graphs.append((x, torch.zeros(edges.size(1), 3, dtype=torch.long), edges, y))
            torch.save(graphs, raw / f"{split}.pt")
