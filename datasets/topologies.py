"""The table of topologies, and how a task's field `topology` is written: as a value, a name, or a table of fields."""

from functools import cache
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationError
from pydantic_core import ErrorDetails

from datasets.altered import Decoyed, Noisy, Padded
from datasets.attachment_tree import AttachmentTree
from datasets.barabasi_albert import BarabasiAlbert
from datasets.barbell import Barbell
from datasets.caterpillar import Caterpillar
from datasets.chorded_line import ChordedLine
from datasets.circular_ladder import CircularLadder
from datasets.clique import Clique
from datasets.clique_chain import CliqueChain
from datasets.clique_path import CliquePath
from datasets.crossed_ring import CrossedRing
from datasets.erdos_renyi import ErdosRenyi
from datasets.expander import Expander
from datasets.grid import Grid
from datasets.layered import Layered
from datasets.network import Network
from datasets.of_diameter import OfDiameter
from datasets.path import Path
from datasets.pruned_grid import PrunedGrid
from datasets.random_caterpillar import RandomCaterpillar
from datasets.random_geometric import RandomGeometric
from datasets.random_tree import RandomTree
from datasets.ring import Ring
from datasets.stochastic_blockmodel import StochasticBlockmodel
from datasets.subnetwork import Subnetwork
from datasets.theta import Theta
from datasets.torus import Torus
from datasets.tree import Tree
from suite.refs import file_sha256, load, ref_of, unknown
from suite.task import Topology

TOPOLOGIES: dict[str, type[Topology]] = {
    "attachment_tree": AttachmentTree,
    "barabasi_albert": BarabasiAlbert,
    "barbell": Barbell,
    "caterpillar": Caterpillar,
    "chorded_line": ChordedLine,
    "circular_ladder": CircularLadder,
    "clique": Clique,
    "clique_chain": CliqueChain,
    "clique_path": CliquePath,
    "crossed_ring": CrossedRing,
    "decoyed": Decoyed,
    "erdos_renyi": ErdosRenyi,
    "expander": Expander,
    "grid": Grid,
    "layered": Layered,
    "network": Network,
    "noisy": Noisy,
    "of_diameter": OfDiameter,
    "padded": Padded,
    "path": Path,
    "pruned_grid": PrunedGrid,
    "random_caterpillar": RandomCaterpillar,
    "random_geometric": RandomGeometric,
    "random_tree": RandomTree,
    "ring": Ring,
    "stochastic_blockmodel": StochasticBlockmodel,
    "subnetwork": Subnetwork,
    "theta": Theta,
    "torus": Torus,
    "tree": Tree,
}


def read_topology(value: Any) -> Topology:
    """Return the topology that `value` is or names.

    "ring" and {"kind": "barbell", "bridges": 2} are built-in; `kind` may also be `module:Name` or `file.py:Name`, the
    file optionally held to a `sha256`. Raises ValueError where no topology has that name, or it refuses a field.
    """
    if isinstance(value, Topology):
        return value
    fields = {"kind": value} if isinstance(value, str) else value
    if not isinstance(fields, dict) or "kind" not in fields:
        raise ValueError(f"a topology is a name, or a table with 'kind' and its fields; got {value!r}")
    kind, rest = str(fields["kind"]), {name: field for name, field in fields.items() if name != "kind"}
    try:
        topology = _find(kind, rest.pop("sha256", None))(**rest)
    except ValidationError as error:
        raise ValueError(f"topology '{kind}': {'; '.join(map(_fault, error.errors()))}") from None
    if not isinstance(topology, Topology):
        raise ValueError(f"{kind} is a {type(topology).__name__}, not a suite.task.Topology")
    return topology


def write_topology(topology: Topology) -> dict[str, Any]:
    """Return what `read_topology` reads: every field; a stranger's topology under its reference, with its digest."""
    return topology.model_dump(mode="json") | _address(type(topology))


def _fault(error: ErrorDetails) -> str:
    """Say one error of pydantic in one line: the field, what is allowed, what was given."""
    if error["type"] == "value_error":  # from a validator of ours, which says all of it
        return error["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}, got {error['input']!r}"


def _find(kind: str, sha256: str | None) -> type[Topology]:
    if kind in TOPOLOGIES:
        return TOPOLOGIES[kind]
    if ":" in kind:
        try:
            found: type[Topology] = load(kind, sha256)
        except (ImportError, OSError) as error:
            raise ValueError(f"topology '{kind}' cannot be loaded: {error}") from None
        return found
    raise ValueError(f"{unknown('topology', kind, TOPOLOGIES)}; or file.py:Name")


@cache
def _address(cls: type[Topology]) -> dict[str, str]:
    if cls in TOPOLOGIES.values():
        return {}
    ref = ref_of(cls)
    sha256 = file_sha256(ref)
    return {"kind": ref} | ({"sha256": sha256} if sha256 else {})


TopologyField = Annotated[Topology, BeforeValidator(read_topology), PlainSerializer(write_topology)]
