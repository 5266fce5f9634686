"""Made-up raw files in the layout of MoleculeNet's ESOL, and a reader of their formulas in place of RDKit's."""

from pathlib import Path

import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected
from torch_geometric.utils.smiles import x_map

from suite.rng import stream

NUM_MOLECULES = 60
HEAD = "Compound ID,ESOL predicted log solubility in mols per litre,Minimum Degree,Molecular Weight,Number of H-Bond Donors,"
HEAD += "Number of Rings,Number of Rotatable Bonds,Polar Surface Area,measured log solubility in mols per litre,smiles"


def write_molecules(root: Path) -> list[tuple[float, str]]:
    """Write chains of 1 to 9 atoms below `root`, and return their solubilities and formulas."""
    raw = root / "molecule_net" / "esol" / "raw"
    raw.mkdir(parents=True)
    rng, rows, lines = stream("molecules"), [], [HEAD]
    for number in range(NUM_MOLECULES):
        atoms = torch.randint(3, (1 + number % 9,), generator=rng).tolist()
        formula = "".join("CNO"[atom] for atom in atoms)
        solubility = round(-len(atoms) / 4 - 0.1 * formula.count("N") - 0.01 * formula.count("O"), 3)  # of equals the same
        rows.append((solubility, formula))
        lines.append(f'"2,{number}-made up",0.5,1,100.0,0,0,1,20.2,{solubility},{formula}')
    (raw / "delaney-processed.csv").write_text("\n".join([*lines, ""]))
    return rows


def read_chain(formula: str) -> Data:
    """Return what PyG's `from_smiles` returns of a chain without RDKit: of atoms their element, all else unknown."""
    x = torch.zeros(len(formula), len(x_map), dtype=torch.long)
    x[:, 0] = torch.tensor([{"C": 6, "N": 7, "O": 8}[atom] for atom in formula])
    forth = torch.stack([torch.arange(len(formula) - 1), torch.arange(1, len(formula))])
    return Data(x=x, edge_index=to_undirected(forth, num_nodes=len(formula)), smiles=formula)
