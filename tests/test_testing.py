"""The contract kit finds what is planted, and says what to change."""

from __future__ import annotations

import random
import re
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import LayerNorm as GraphLayerNorm
from torch_geometric.utils import to_undirected

from suite.certify import MalformedError, certify
from suite.models import resolve
from suite.models.base import Model
from suite.models.grit import GRIT
from suite.models.layers import BatchNorm, Linear
from suite.operators import GraphOperators, Operators
from suite.rng import stream
from suite.task import Block, Level, Loss, Task
from suite.testing import MODEL_CHECKS, TASK_CHECKS, ContractError, Made, check_fresh_process, check_model, check_task


def ring(num_nodes: int) -> Tensor:
    node = torch.arange(num_nodes)
    return to_undirected(torch.stack([node, node.roll(-1)]))


class Good(Task):
    """Transfer by content on a ring, one graph at a time."""

    hops: int = 4
    num_classes: int = 3

    @property
    def token_channels(self) -> slice:
        return slice(0, self.num_classes)

    def sample(self, rng: torch.Generator) -> Data:
        classes = torch.randint(self.num_classes, (2 * self.hops,), generator=rng)
        x = F.pad(F.one_hot(classes, self.num_classes).float(), (0, 1))
        x[0] = 0
        x[self.hops, -1] = 1
        readout, source = torch.tensor([0]), torch.tensor([self.hops])
        return Data(x=x, edge_index=ring(2 * self.hops), y=classes[source], readout_index=readout, source_index=source)


class FromGlobalTorch(Good):
    def sample(self, rng: torch.Generator) -> Data:
        return super().sample(torch.Generator().manual_seed(int(torch.randint(10**6, ()))))


class FromGlobalNumpy(Good):
    def sample(self, rng: torch.Generator) -> Data:
        return super().sample(torch.Generator().manual_seed(int(np.random.randint(10**6))))


class FromGlobalRandom(Good):
    def sample(self, rng: torch.Generator) -> Data:
        return super().sample(torch.Generator().manual_seed(random.randrange(10**6)))


class ReadsGlobalSeed(Good):
    """Leaves the global state as it is, and still depends on it."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.x[1, 0] = torch.initial_seed() % 1000
        return graph

    @property
    def token_channels(self) -> slice:
        return slice(1, 1)


class SaltedHash(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.x[0, -1] = hash("read-out") % 1_000_003
        return graph


class OneHopNearer(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.source_index = torch.tensor([self.hops - 1])
        return graph


class NoSource(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        del graph.source_index
        return graph


class TwoSplitsOfOneSeed(Good):
    def draw(self, num_graphs: int, rng: torch.Generator) -> Block | list[Data]:
        return super().draw(num_graphs, stream("always the same"))


class FiveInputs(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(torch.Generator().manual_seed(int(torch.randint(5, (), generator=rng))))
        return graph


class SaysTooLittleVaries(Good):
    def draw(self, num_graphs: int, rng: torch.Generator) -> Block | list[Data]:
        block = super().draw(num_graphs, rng)
        assert isinstance(block, Block)
        block.varying = torch.zeros(block.num_nodes, dtype=torch.bool)
        return block


class OneAnswer(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.y = torch.zeros(1, dtype=torch.long)
        return graph


class AnotherOrder(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        order = torch.randperm(8, generator=rng)
        place = order.argsort()
        graph.x, graph.edge_index = graph.x[order], place[graph.edge_index]
        graph.readout_index, graph.source_index = place[graph.readout_index], place[graph.source_index]
        return graph


class CarriesDistances(AnotherOrder):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.hop_distance = torch.arange(8)
        return graph


class OneWay(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.edge_index = graph.edge_index[:, graph.edge_index[0] < graph.edge_index[1]]
        return graph


class OneWayOnPurpose(OneWay):
    @property
    def irregular(self) -> frozenset[str]:
        return frozenset({"directed"})


class Doubles(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.x = graph.x.double()
        return graph


class TooManyClasses(Good):
    @property
    def out_channels(self) -> int:
        return self.num_classes - 1


class FloatClasses(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.y = graph.y.float()
        return graph


class UnevenTargets(Good):
    loss: ClassVar[Loss] = "mse"
    num_classes: int = 1

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.x[:, -1] = torch.rand(8, generator=rng)
        graph.y = graph.x[4:5, -1:].repeat(1, 2)
        return graph


class EndlessTargets(UnevenTargets):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.y = 1 / (graph.y[:, :1] * 0)
        return graph


class BetterNear(Good):
    num_classes: int = 4

    @property
    def near_chance(self) -> float:
        return 0.5


class ManyHot(Good):
    @property
    def token_channels(self) -> slice:
        return slice(0, self.num_classes + 1)


class Forgetful(Good):
    def config(self) -> dict[str, Any]:
        return {}


class OddTwin(Good):
    def answer_twin(self) -> Task:
        return Good(num_classes=5)


class ByNumber(Good):
    """Asks whether the flagged node stands before or behind the read-out, which nothing but its number says."""

    num_classes: int = 2

    @property
    def token_channels(self) -> None:
        return None

    @property
    def range(self) -> None:
        return None

    def sample(self, rng: torch.Generator) -> Data:
        place = 1 + torch.randint(7, (1,), generator=rng)
        x = torch.zeros(8, 12)
        x[place, 0] = x[4, 1] = 1
        x[4, 2:] = torch.randint(2, (10,), generator=rng).float()
        return Data(x=x, edge_index=ring(8), y=(place > 4).long(), readout_index=torch.tensor([4]))


class ByNumberAmidNoise(ByNumber):
    """The same, and a feature that makes every graph another."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.x = torch.cat([graph.x, torch.randn(8, 1, generator=rng)], dim=1)
        return graph


class ValueByNumber(ByNumber):
    """Asks for the value of node 2, which is like node 6."""

    loss: ClassVar[Loss] = "mse"
    num_classes: int = 1

    def sample(self, rng: torch.Generator) -> Data:
        x = torch.randn(8, 1, generator=rng)
        return Data(x=x, edge_index=ring(8), y=x[[2]], readout_index=torch.tensor([0]))


class ValueOfFlagged(ValueByNumber):
    """Asks for the value of the node with a flag, and shows how it is found."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.x = torch.cat([graph.x, F.one_hot(torch.tensor(2), 8)[:, None].float()], dim=1)
        return graph

    def witness(self, block: Block) -> Tensor:
        return (block.x[:, :, :1] * block.x[:, :, 1:]).sum(1, keepdim=True)


class GoodAmidNoise(Good):
    """A feature that makes every graph another, and does not count."""

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.x = torch.cat([graph.x, torch.randn(8, 1, generator=rng)], dim=1)
        return graph


class NumberedWitness(Good):
    """Looks the class up at the place where it was written."""

    def witness(self, block: Block) -> Tensor:
        return block.x[:, self.hops : self.hops + 1, : self.num_classes]


class WrongWitness(Good):
    """Answers with the read-out node's token, which is blank."""

    def witness(self, block: Block) -> Tensor:
        return block.x[:, block.readout_index, : self.num_classes]


class ScalarAnswer(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.y = graph.y[0]
        return graph


class NumberedReadout(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.readout_index = 0
        return graph


class Featureless(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        del graph.x
        return graph


class ReturnsNothing(Good):
    def sample(self, rng: torch.Generator) -> Data:
        return None  # type: ignore[return-value]


class Unequal(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.x = F.pad(graph.x, (0, int(torch.randint(2, (), generator=rng))))
        return graph


class ScalarAnswers(Good):
    """The same fault in a block."""

    def draw(self, num_graphs: int, rng: torch.Generator) -> Block | list[Data]:
        block = super().draw(num_graphs, rng)
        assert isinstance(block, Block)
        block.y = block.y[:, 0]
        return block


class Endless(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.x[1, -1] = torch.inf
        return graph


class NobodyAsked(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        del graph.readout_index
        return graph


class EdgeToNowhere(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.edge_index = torch.cat([graph.edge_index, torch.tensor([[0, 99], [99, 0]])], dim=1)
        return graph


class NobodyNamed(Good):
    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        graph.readout_index, graph.y = graph.readout_index[:0], graph.y[:0]
        return graph


class AnsweredTwice(Good):
    level: ClassVar[Level] = "graph"

    def sample(self, rng: torch.Generator) -> Data:
        graph = super().sample(rng)
        del graph.readout_index, graph.source_index
        graph.y = graph.y.repeat(2)
        return graph


MALFORMED: list[tuple[Task, str]] = [
    (ScalarAnswer(), "y must be [num_readouts, ...]; is []"),
    (ScalarAnswers(), "y must be [num_readouts, ...]; is []"),
    (NumberedReadout(), "readout_index must be a tensor [num_readouts]; is 0, of type int"),
    (Featureless(), "x must be a tensor [num_nodes, in_channels]; is not there"),
    (ReturnsNothing(), "what it returns must be a torch_geometric.data.Data; is NoneType"),
    (Unequal(), "x must have as many columns in every graph; they are [4, 5]"),
    (Endless(), "float32 and finite; is (8, 4), torch.float32, with entries that are not finite"),
    (
        NobodyAsked(),
        "Data has no 'readout_index', the nodes that are asked; a question about whole graphs says level = \"graph\"",
    ),
    (EdgeToNowhere(), "edge_index must be long and name nodes 0 ... 7; is torch.int64, 0 ... 99"),
]


class Raises(Good):
    def sample(self, rng: torch.Generator) -> Data:
        raise KeyError("my own mistake")


FAULTS: list[tuple[Task, str, str]] = [
    (FromGlobalTorch(), "randomness", "global random state of torch"),
    (FromGlobalNumpy(), "randomness", "global random state of numpy"),
    (FromGlobalRandom(), "randomness", "global random state of random"),
    (ReadsGlobalSeed(), "randomness", "depends on the global random state"),
    (OneHopNearer(), "structure", "the source is 3 hops from the read-out node by BFS, the task says 4"),
    (OneHopNearer(), "structure", "plant it there, let source_index name the node that counts"),
    (NoSource(), "structure", "no source_index"),
    (NoSource(), "structure", "give Data one, or let the task's property `range` be None"),
    (OneWay(), "structure", "name 'directed' in the task's property `irregular`"),
    (CarriesDistances(), "shapes", "Data carries 'hop_distance'"),
    (Doubles(), "shapes", "float64"),
    (TooManyClasses(), "shapes", "classes must lie in 0 ... 1 (out_channels); found 2"),
    (FloatClasses(), "shapes", "classes; is (1,), torch.float32"),
    (EndlessTargets(), "shapes", "y must be finite; is torch.float32, with entries that are not finite"),
    (BetterNear(), "fields", "near_chance 0.5 is better than chance 0.25: who sees all nodes sees the near ones too"),
    (UnevenTargets(), "shapes", "float32 with 1 targets a row; is torch.float32, (1, 2)"),
    (ManyHot(), "tokens", "one-hot"),
    (TwoSplitsOfOneSeed(), "splits", "validation and test draw the same samples"),
    (FiveInputs(), "variety", "5 distinct inputs among 512"),
    (SaysTooLittleVaries(), "varying", "says that x of node 1 is the same in all graphs, and it is not"),
    (OneAnswer(), "variety", "all 512 answers are the same"),
    (AnotherOrder(), "node order", "one graph, in different node orders"),
    (Forgetful(hops=5), "fields", "another task"),
    (OddTwin(), "twins", "answer_twin() asks another kind of question"),
    (ByNumber(), "node numbers", "the same but for the numbers of their nodes have different answers"),
    (
        ByNumberAmidNoise(),
        "node numbers",
        "but for the numbers of their nodes and x[:, [12]], which never repeats, have different",
    ),
    (ValueByNumber(), "node numbers", "show it by a `witness`"),
    (NumberedWitness(), "witness", "on graphs whose nodes are renumbered"),
    (WrongWitness(), "witness", "the witness is wrong or reads node numbers"),
]
BAD = (OneHopNearer, FromGlobalTorch, TwoSplitsOfOneSeed, FiveInputs, AnotherOrder, ByNumber, ByNumberAmidNoise, WrongWitness)


@pytest.mark.parametrize("check", TASK_CHECKS)
@pytest.mark.parametrize(
    "task", [Good(), OneWayOnPurpose(), GoodAmidNoise(), ValueOfFlagged()], ids=lambda task: type(task).__name__
)
def test_a_good_task_passes_every_check(task: Task, check: str) -> None:
    assert not list(TASK_CHECKS[check](task))


@pytest.mark.parametrize(("task", "check", "said"), FAULTS, ids=[f"{type(f[0]).__name__}-{f[1]}" for f in FAULTS])
def test_a_planted_fault_is_found_and_named(task: Task, check: str, said: str) -> None:
    found = list(TASK_CHECKS[check](task))
    assert any(said in fault for fault in found), found


@pytest.mark.parametrize("cls", BAD)
def test_a_bad_task_is_refused_by_the_whole_kit_with_its_fault_alone(cls: type[Task]) -> None:
    (check, said) = next((check, said) for task, check, said in FAULTS if type(task) is cls)
    with pytest.raises(ContractError) as error:
        check_task(cls())
    first, *faults = str(error.value).splitlines()
    assert first == f"{cls.__name__} breaks its contract:"
    assert any(fault.startswith(f"  {check}: ") and said in fault for fault in faults)
    assert {fault.strip().partition(":")[0] for fault in faults} == {check}


def test_a_salted_hash_shows_in_another_process_only() -> None:
    assert not list(TASK_CHECKS["randomness"](SaltedHash()))
    with pytest.raises(ContractError, match=r"SaltedHash.*draws other samples in another process") as error:
        check_fresh_process([Good(), SaltedHash()])
    assert "Good" not in str(error.value)


def test_what_is_raised_is_listed_with_its_line_and_hides_no_fault() -> None:
    with pytest.raises(ContractError) as error:
        check_task(Raises(num_classes=1))
    first, *faults = str(error.value).splitlines()
    assert first == "Raises breaks its contract:"
    assert [fault.partition(":")[0] for fault in faults] == ["  fields", "  shapes"]
    assert re.fullmatch(r"  shapes: raised KeyError: 'my own mistake' \(test_testing.py, line \d+\)", faults[1])


@pytest.mark.parametrize(("task", "said"), MALFORMED, ids=[type(task).__name__ for task, _ in MALFORMED])
def test_graphs_that_cannot_be_read_are_said_to_be_so_once(task: Task, said: str) -> None:
    """By the kit, where nothing of what follows from it is listed beside it, and by a certificate before anything is trained."""
    with pytest.raises(ContractError) as error:
        check_task(task)
    (fault,) = str(error.value).splitlines()[1:]
    assert fault.startswith("  shapes: ")
    assert said in fault
    with pytest.raises(MalformedError) as refused:
        certify(task)
    (fault,) = str(refused.value).splitlines()
    assert said in fault


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (NobodyNamed(), "readout_index names no node, so that nothing is asked"),
        (AnsweredTwice(), "y must have one row for the graph; is (2,)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_too_few_questions_and_too_many_answers_are_refused(task: Task, said: str) -> None:
    with pytest.raises(MalformedError) as refused:
        certify(task)
    assert str(refused.value) == said


def test_a_task_that_another_process_cannot_make_is_said_to_be_so() -> None:
    class Local(Good):
        pass

    with pytest.raises(ContractError, match="define it in a module or a file"):
        check_fresh_process([Local()])


# models


class Plain(Model):
    """Mean over in-edges and the node itself, num_layers times."""

    operator, reach = "mean", None

    def __init__(self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int) -> None:
        super().__init__()
        self.reach = num_layers
        self.first, self.last = Linear(in_channels, hidden_channels), Linear(hidden_channels, out_channels)
        self.layers = nn.ModuleList(Linear(hidden_channels, hidden_channels) for _ in range(num_layers))

    def states(self, x: Tensor, op: Operators, **needs: Tensor) -> list[Tensor]:
        hidden = [self.first(x).tanh()]
        for index, layer in enumerate(self.layers):
            hidden.append(self.block(layer, hidden[-1], op.layer(index)))
        return hidden

    def block(self, layer: nn.Module, h: Tensor, op: Operators) -> Tensor:
        return layer(h + op.mean(h)).tanh()

    def decode(self, hidden: list[Tensor]) -> Tensor:
        return self.last(hidden[-1])


class ByPlace(Plain):
    def block(self, layer: nn.Module, h: Tensor, op: Operators) -> Tensor:
        return super().block(layer, h + torch.arange(len(h))[:, None] / 10, op)


class SecretNorm(Plain):
    """PyG's LayerNorm in its default mode: over all nodes of the batch it is given."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.norm = GraphLayerNorm(sizes[1])

    def block(self, layer: nn.Module, h: Tensor, op: Operators) -> Tensor:
        return super().block(layer, self.norm(h), op)


class SecretBatchNorm(Plain):
    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.norm = BatchNorm(sizes[1])

    def block(self, layer: nn.Module, h: Tensor, op: Operators) -> Tensor:
        return super().block(layer, self.norm(h, op), op)


class DeclaredBatchNorm(SecretBatchNorm):
    global_channel = frozenset({"norm(train)"})


class TwoHopsALayer(Plain):
    def block(self, layer: nn.Module, h: Tensor, op: Operators) -> Tensor:
        return super().block(layer, op.mean(h), op)


class FiveHopsALayer(Plain):
    """It says that it reads four, and three layers of them see all of a small graph."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.reach = 4 * len(self.layers)

    def block(self, layer: nn.Module, h: Tensor, op: Operators) -> Tensor:
        for _ in range(5):
            h = h + op.mean(h)
        return layer(h).tanh()


class NeverLooks(Plain):
    def block(self, layer: nn.Module, h: Tensor, op: Operators) -> Tensor:
        return layer(h).tanh()


class SecretPool(Plain):
    def decode(self, hidden: list[Tensor]) -> Tensor:
        return self.last(hidden[-1] + hidden[0].mean(0))


class Idle(Plain):
    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.unused = Linear(3, 3)


class TwoWays(Plain):
    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None, **needs: Tensor) -> Tensor:
        return 2 * super().forward(x, edge_index, batch, **needs)


class OneStateShort(Plain):
    def encode(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None, **needs: Tensor) -> list[Tensor]:
        return self.states(x, GraphOperators(edge_index, len(x), x.dtype, batch))[1:]


class OutsideTheState(Plain):
    """A random constant that no buffer keeps."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.scale = float(torch.rand(()))

    def decode(self, hidden: list[Tensor]) -> Tensor:
        return self.scale * super().decode(hidden)


class NoisyInEval(Plain):
    def decode(self, hidden: list[Tensor]) -> Tensor:
        return self.last(F.dropout(hidden[-1], 0.5))


class DeniesItsEdges(Plain):
    reads_edges = False


class ByPlaceInTraining(Plain):
    def decode(self, hidden: list[Tensor]) -> Tensor:
        return super().decode(hidden) * (torch.arange(len(hidden[-1])).unsqueeze(1) if self.training else 1)


class IdleInTraining(Plain):
    def decode(self, hidden: list[Tensor]) -> Tensor:
        return super().decode(hidden).detach() + hidden[-1].sum() if self.training else super().decode(hidden)


class SecretDropout(Plain):
    def decode(self, hidden: list[Tensor]) -> Tensor:
        return self.last(F.dropout(hidden[-1], 0.5, self.training))


class DeclaredDropout(SecretDropout):
    random = True


class OwnGenerator(Plain):
    random = True

    def decode(self, hidden: list[Tensor]) -> Tensor:
        noise = torch.rand((), generator=GENERATOR) if self.training else 1
        return noise * super().decode(hidden)


GENERATOR = torch.Generator().manual_seed(0)


class ToldOfNone(Plain):
    pe_reach = 3


class ToldFarther(GRIT):
    pe_reach = 15


class ToldLess(GRIT):
    pe_reach = 17


class AddsUnsaid(Plain):
    skips = "none"

    def block(self, layer: nn.Module, h: Tensor, op: Operators) -> Tensor:
        return h + super().block(layer, h, op)


class AddsAsItSays(AddsUnsaid):
    skips = "added"


class AddsNothing(Plain):
    skips = "added"


class HearsAll(Plain):
    skips = "none"

    def block(self, layer: nn.Module, h: Tensor, op: Operators) -> Tensor:
        return super().block(layer, h + op.to_nodes(op.global_mean(h), h), op)


class KeepsItself(HearsAll):
    operator = "complete"


class SkipsSideways(Plain):
    skips = "sideways"


class UnknownNeeds(Plain):
    needs = frozenset({"horoscope"})


class SaysNothing(nn.Module):
    def __init__(self, in_channels: int, hidden_channels: int, num_layers: int, out_channels: int) -> None:
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.lin(x)


MODEL_FAULTS: list[tuple[type[nn.Module], str, str]] = [
    (ByPlace, "equivariance", "renumbering"),
    (SecretNorm, "batching", "in eval mode the other graphs"),
    (SecretBatchNorm, "batching", "declare 'norm(train)'"),
    (TwoHopsALayer, "reach", "declares reach 3, yet outputs depend on nodes up to 6 hops away"),
    (FiveHopsALayer, "reach", "declares reach 12, yet outputs depend on nodes up to 15 hops away"),
    (NeverLooks, "reach", "declares reach 3, yet outputs depend on nodes up to 0 hops away"),
    (NeverLooks, "edges", "declare reads_edges = False"),
    (DeniesItsEdges, "edges", "taking the edges away changes the output"),
    (SecretPool, "reach", "declares reach 3, yet"),
    (Idle, "gradients", "unused.weight is not used"),
    (TwoWays, "hidden states", "is not forward"),
    (OneStateShort, "hidden states", "num_layers + 1 = 4 states; gives 3"),
    (OutsideTheState, "saving", "keep every number in parameters or buffers"),
    (NoisyInEval, "determinism", "random numbers are drawn"),
    (ByPlaceInTraining, "equivariance", "in training, renumbering"),
    (IdleInTraining, "gradients", "in training, parameter last.weight is not used"),
    (SecretDropout, "determinism", "declare random = True"),
    (OwnGenerator, "determinism", "in training the same seed gives another output"),
    (AddsUnsaid, "skips", "declares skips 'none', yet with weights of 0 its layers hand on something else"),
    (AddsNothing, "skips", "declares skips 'added', yet with weights of 0 its layers hand on something else"),
    (HearsAll, "skips", "yet a layer feels nodes that the operator 'mean' does not join"),
    (KeepsItself, "skips", "yet a node feels itself otherwise than by the mean over all"),
    (SkipsSideways, "skips", "skips is 'sideways'; known: added, none, other"),
    (ToldOfNone, "pe_reach", "must be 0 without an encoding of pairs"),
    (ToldFarther, "pe_reach", "declares pe_reach 15, yet encodings tell it farther distances"),
    (ToldLess, "pe_reach", "declares pe_reach 17, yet pairs 17 hops apart are as those farther"),
    (UnknownNeeds, "declarations", "'horoscope', which is no encoding"),
    (SaysNothing, "declarations", "declares no `global_channel`"),
]


@pytest.mark.parametrize("model", ["Plain", "DeclaredBatchNorm", "DeclaredDropout", "AddsAsItSays"])
def test_a_good_model_passes(model: str) -> None:
    check_model(f"test_testing:{model}")


@pytest.mark.parametrize(("cls", "check", "said"), MODEL_FAULTS, ids=[f"{f[0].__name__}-{f[1]}" for f in MODEL_FAULTS])
def test_a_planted_fault_of_a_model_is_found_and_named(cls: type[nn.Module], check: str, said: str) -> None:
    found = list(MODEL_CHECKS[check](Made(resolve(f"test_testing:{cls.__name__}"))))
    assert any(said in fault for fault in found), found


def test_a_models_faults_are_listed_under_its_name() -> None:
    with pytest.raises(
        ContractError, match=r"^test_testing:Idle breaks its contract:\n  gradients: in eval mode, parameter unused\.weight"
    ):
        check_model("test_testing:Idle")
