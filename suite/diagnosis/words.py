"""What a diagnosis says: for each topic a few words and a sentence or two, computed from the numbers of the measures.

The words change at fixed limits, which docs/diagnose.md lists; the sentences give the numbers beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

ALIKE, SMOOTHER = 0.01, 0.5  # of the Rayleigh quotient of random rows
LOST, READ, KEPT = 0.1, 0.5, 0.9  # skill of the probe
VANISHED = 1e-3  # ratio of gradient norms, and its inverse of exploding

SKIPS = {"none": "", "added": " with its skip", "other": " without the skip"}  # what is said of an operator, by `Pass.skips`

Measures = dict[str, dict[str, Any]]


class Finding(NamedTuple):
    """What one topic comes to: `short` in a few words, `text` in sentences with the numbers."""

    short: str
    text: str


def findings(measures: Measures, num_layers: int) -> dict[str, Finding]:
    """Return what can be said, by topic; a topic whose measures are not there, or have no states to speak of, is left out."""
    topics: dict[str, Callable[[Measures, int], Finding | None]] = {
        "Reach": _reach,
        "Over-squashing": _squashing,
        "Over-smoothing": _smoothing,
        "Own tokens": _tokens,
        "Scale": _scale,
        "Mixing": _mixing,
        "Graph": _graph,
    }
    found = {topic: say(measures, num_layers) for topic, say in topics.items()}
    return {topic: finding for topic, finding in found.items() if finding is not None}


def number(value: float) -> str:
    """Return a number of three significant digits, with a true minus sign."""
    return (f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}").replace("-", "−")


def plural(count: int, noun: str) -> str:
    """Return "1 graph", "2 graphs"."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def felt_hops(influence: dict[str, Any]) -> list[int]:
    """Return the distances at which some pair of nodes has influence that is not 0."""
    pairs = zip(influence["hops"], influence["pairs"], influence["zeros"], strict=True)
    return [hop for hop, count, zeros in pairs if count > zeros]


def _reach(measures: Measures, num_layers: int) -> Finding | None:
    influence = measures.get("influence")
    if influence is None:
        return None
    felt = felt_hops(influence)
    if not felt:
        return Finding("feels nothing", "No output depends on any input: every derivative is 0, or not finite.")
    reach, asked = felt[-1], max(hop for hop, count in zip(influence["hops"], influence["pairs"], strict=True) if count)
    if not asked:
        return Finding("no path to go", "No node asked is joined to another: how far it feels cannot be told.")
    dead = influence["dead_readouts"]
    last = f" {plural(dead, 'read-out node')} of {influence['num_readouts']} felt nothing at all." if dead else ""
    gaps = [hop for hop in range(reach) if influence["pairs"][hop] and hop not in felt]
    last = f" At {', '.join(map(str, gaps))} hops nothing is felt.{last}" if gaps else last
    if reach < asked:
        beyond = sum(influence["pairs"][reach + 1 :])
        text = (
            f"Outputs feel inputs up to {plural(reach, 'hop')} away, and nothing of what is farther: {plural(beyond, 'pair')} of"
            f" nodes, up to {plural(asked, 'hop')} apart."
        )
        return Finding(f"blind beyond {plural(reach, 'hop')}", text + last)
    text = f"Outputs feel inputs as far as was asked, {plural(asked, 'hop')}"
    past = 0 < num_layers < asked
    why = (
        f", with {plural(num_layers, 'layer')}: information travels past the edges, or several of them in a layer" if past else ""
    )
    return Finding(f"feels as far as {plural(asked, 'hop')}", f"{text}{why}.{last}")


def _squashing(measures: Measures, num_layers: int) -> Finding | None:
    influence = measures.get("influence")
    felt = felt_hops(influence) if influence else []
    if influence is None or len(felt) < 2:
        return None
    share, log10_norm = influence["share"], influence["log10_norm"]
    text = f"Inputs that count are {number(influence['mean_hops'])} hops away on average, weighted by their influence"
    text += f"{_range_beside(measures, num_layers)}."
    near, far = felt[0], felt[-1]
    factor = 10 ** ((log10_norm[near] - log10_norm[far]) / (far - near))
    verb, short = ("divides", "costs") if factor >= 1 else ("multiplies", "gains")
    factor = max(factor, 1 / factor)
    text += (
        f" One hop more {verb} the influence of a node by {number(factor)} (geometric mean, {near} to {far} hops). All nodes"
        f" {plural(far, 'hop')} away together have {number(share[far])} of an output's sensitivity"
    )
    source = _aggregated(measures) + _source(influence) + _against_all_else(measures.get("shares", {}))
    return Finding(f"one hop {short} a factor of {number(factor)}", f"{text}{_beside(measures, num_layers, far)}.{source}")


def _range_beside(measures: Measures, num_layers: int) -> str:
    operator = measures.get("operator_share")
    if operator is None or not num_layers or operator["operator"] == "none" or operator["mean_hops"] is None:
        return ""
    return f" (for {_as_run(operator)} {number(operator['mean_hops'])})"


def _as_run(operator: dict[str, Any]) -> str:
    return f"the {'' if operator['skips'] != 'none' else 'bare '}{operator['operator']} operator{SKIPS[operator['skips']]}"


def _beside(measures: Measures, num_layers: int, far: int) -> str:
    """Say what the topology alone brings from `far`."""
    operator = measures.get("operator_share")
    if operator is None or not num_layers or operator["operator"] == "none" or far >= len(operator["share"]):
        return ""
    alone = operator["share"][far]
    return f"; {_as_run(operator)}, as often as there are layers, brings {number(alone)}"


def _aggregated(measures: Measures) -> str:
    """Say what of all that an output feels is aggregation's doing."""
    gain = measures.get("shares", {}).get("aggregation_gain")
    if gain is None:
        return ""
    return f" All that an output feels is {number(10**gain)} times what it is where each node is its own only neighbour."


def _source(influence: dict[str, Any]) -> str:
    if influence.get("source_share") is None:
        return ""
    hops, share = number(influence["source_hops"]), number(influence["source_share"])
    return f" The planted sources, {hops} hops away on average, have a share of {share}."


def _against_all_else(shares: dict[str, Any]) -> str:
    """Say what is felt of planted sources beside all other nodes, and beside what the bare operator brings of them."""
    if shares.get("undisturbed"):
        return f" At {plural(shares['undisturbed'], 'read-out node')} nothing that varies is felt but a source."
    if shares.get("source_signal") is None:
        return ""
    text = f" The power of a source is {number(10 ** shares['source_signal'])} times that of all other nodes together"
    text += " (as inputs of the task vary)" if shares["variances"] == "inputs" else " (were all inputs to vary alike)"
    gain, unknown, added = shares["source_gain"], shares["skips"] == "other", shares["skips"] == "added"
    if gain is None:
        return f"{text}." + (" How much of it is routing is not known: the operator is one without the skip." if unknown else "")
    return f"{text}, its share {number(10**gain)} times that of the {'operator with its skip' if added else 'bare operator'}."


def _smoothing(measures: Measures, num_layers: int) -> Finding | None:
    found = measures.get("smoothing")
    if found is None or not num_layers:
        return None
    if found["rq_complete"][-1] is None:
        return Finding(
            "states are 0 or not finite", "The last state is 0 or not finite: nothing can be said of how alike its rows are."
        )
    what, _, quotient, null = roughness(found)
    if not null or quotient[-1] is None:  # no pair of nodes that could be alike
        return None
    ratio = quotient[-1] / null
    short = "states are alike" if ratio < ALIKE else "states are smoothed" if ratio < SMOOTHER else "states are not smoothed"
    rank = found["effective_rank_centred"]
    first = "is undefined at" if quotient[0] is None else f"goes from {number(quotient[0])} at"
    text = (
        f"The {what} {first} layer 0 to {number(quotient[-1])} at layer {num_layers}; random rows have {number(null)}, states in"
        " its limit 0."
    )
    if rank[0] is not None and rank[-1] is not None:
        text += f" What tells nodes apart has effective rank {number(rank[0])} at layer 0 and {number(rank[-1])} at the last."
    text += _angles(found) + _classes(measures.get("groups", {}))
    return Finding(short, text + _backward(measures.get("gradient", {}), found))


def _backward(gradient: dict[str, Any], smoothing: dict[str, Any]) -> str:
    """Say how alike the error signals of nodes become on their way back, by what states are judged by."""
    signals = {name.removeprefix("signal_"): values for name, values in gradient.items() if name.startswith("signal_")}
    if not signals:
        return ""
    values, rank = roughness(smoothing | signals).values, signals["effective_rank_centred"]
    if values[0] is None or values[-1] is None:
        return ""
    text = f" Of the gradient the same goes, on its way back, from {number(values[-1])} to {number(values[0])}"
    if rank[0] is None or rank[-1] is None:
        return f"{text}."
    return f"{text}, and the effective rank from {number(rank[-1])} to {number(rank[0])}."


def _angles(smoothing: dict[str, Any]) -> str:
    """Say how far apart in angle the last states are, and how many have none."""
    ends, pairs, zeros = (smoothing[name][-1] for name in ("mad_edges", "mad_pairs", "zero_rows"))
    if ends is None or pairs is None:
        return ""
    left_out = f"; {plural(zeros, 'state')} of 0 left out" if zeros else ""
    return (
        f" In angle, ends of an edge are {number(ends)} apart, any two nodes {number(pairs)} (1 − cosine; 0: parallel{left_out})."
    )


def _classes(groups: dict[str, Any]) -> str:
    ratio = groups.get("group_distance_ratio", [None])[-1]
    return "" if ratio is None else f" Nodes of two classes are {number(ratio)} times as far apart as those of one."


class Roughness(NamedTuple):
    """What states are judged by: its name in a sentence and over a panel, its values by layer, and that of random rows."""

    name: str
    title: str
    values: list[float | None]
    null: float


def roughness(smoothing: dict[str, Any]) -> Roughness:
    """Return the Rayleigh quotient of the model's operator; that of all pairs of nodes, where it is none or there is no edge.

    Of sums, which have no quotient, the share of |H|^2 outside the space that they end in.
    """
    operator = str(smoothing["operator"])
    if operator == "sum" and smoothing.get("null_distance"):
        outside = [None if d is None else d * d for d in smoothing["distance"]]
        name = "share of |H|² outside the limit of sums"
        return Roughness(name, "Outside the limit of sums", outside, smoothing["null_distance"] ** 2)
    operator = operator if smoothing.get(f"null_rq_{operator}") else "complete"
    of = ("the {} operator" if operator != "complete" else "all pairs of nodes").format(operator)
    title = f"Rayleigh quotient ({operator if operator != 'complete' else 'all pairs'})"
    return Roughness(f"Rayleigh quotient of {of}", title, smoothing[f"rq_{operator}"], smoothing[f"null_rq_{operator}"])


def _tokens(measures: Measures, num_layers: int) -> Finding | None:
    found = measures.get("recoverability")
    if found is None or not num_layers or found["headline"] is None:
        return None
    skill, first = found["headline"], found["by_layer"]["0.001"][0]
    short = "own tokens are lost" if skill < LOST else "own tokens are kept" if skill >= KEPT else "own tokens are partly lost"
    whose = "a token planted on a node" if found["planted"] else "a node's own token"
    text = (
        f"A linear probe reads {whose} off its last state with skill {number(skill)} (0: guessing among"
        f" {found['num_classes']}, 1: always), at relative noise 0.001"
    )
    text = f"{text}; off layer 0 with {number(first)}." if first is not None else f"{text}."
    return Finding(short, text + _far_tokens(measures.get("far_tokens", {})))


def _far_tokens(found: dict[str, Any]) -> str:
    """Say from how far a planted token can be read at a read-out node, and what noise halves it there."""
    if not found:
        return ""
    skills, half = found["by_hop"]["0.001"], found["half_epsilon"]
    asked = [hop for hop, skill in enumerate(skills) if skill is not None and hop]
    read = [hop for hop in asked if skills[hop] >= READ]
    if not read:
        return (
            f" At a read-out node no token from {plural(asked[0], 'hop')} away or farther is read with skill {READ}."
            if asked
            else ""
        )
    far = read[-1]
    text = f" At a read-out node a token {plural(far, 'hop')} away is read with skill {number(skills[far])}"
    text += f", and half of it is left at noise {number(half[far])}" if half[far] else ""
    beyond = [hop for hop in asked if hop > far]
    return f"{text}; at {plural(beyond[0], 'hop')} with {number(skills[beyond[0]])}." if beyond else f"{text}."


def _scale(measures: Measures, num_layers: int) -> Finding | None:
    norm = measures["smoothing"]["feature_norm"] if "smoothing" in measures else [None]
    if not num_layers or norm[0] is None or norm[-1] is None:
        return None
    text = f"The norm of the states goes from {number(norm[0])} at layer 0 to {number(norm[-1])} at layer {num_layers}."
    spectrum = measures.get("spectrum")
    exact = spectrum is not None
    gains = [gain for gain in measures.get("spectrum" if exact else "layers", {}).get("rms", [])[1:] if gain is not None]
    if gains:
        ends = list(dict.fromkeys([number(min(gains)), number(max(gains))]))
        how = "" if exact else ", estimated from 4 probes"
        text += (
            f" A layer multiplies a small change by {' to '.join(ends)} (root mean square of the singular values of its"
            f" Jacobian{how})."
        )
    if spectrum is not None:
        text += f" It shrinks {_percent(spectrum['shrinking'])} of directions, {_percent(spectrum['lost'])} to less than a tenth."
    ratio = measures.get("gradient", {}).get("ratio")
    if ratio is None:
        return Finding("gradients are not known", text)
    short = "gradients vanish" if ratio < VANISHED else "gradients explode" if ratio > 1 / VANISHED else "gradients arrive"
    return Finding(
        short, f"{text} The gradient of the loss at layer 0 is {number(ratio)} times as large as at layer {num_layers}."
    )


def _percent(shares: list[float | None]) -> str:
    known = sorted(share for share in shares if share is not None)
    low, high = f"{known[0]:.0%}", f"{known[-1]:.0%}"
    return low if low == high else f"{low} to {high}"


def _mixing(measures: Measures, num_layers: int) -> Finding | None:  # noqa: ARG001 - as every topic is asked
    found = measures.get("mixing")
    if found is None:
        return None
    felt = [hop for hop, value in enumerate(found["mixing"]) if value]
    if not felt or felt[-1] == 0:
        return None
    near, far = next(hop for hop in felt if hop), felt[-1]
    text = f"What a read-out node and another hold together moves the output by up to {number(found['mixing'][near])}"
    text += f" (second derivative) at {plural(near, 'hop')}"
    return Finding("", f"{text} and {number(found['mixing'][far])} at {far}." if far > near else f"{text}, and no farther.")


def _graph(measures: Measures, num_layers: int) -> Finding | None:
    found = measures.get("topology")
    if found is None:
        return None
    of = "The graph has" if found["num_graphs"] == 1 else f"Means over {plural(found['num_graphs'], 'graph')}:"
    text = f"{of} {_mean(found['num_nodes'], 'node')} and {_mean(found['num_edges'], 'edge')}"
    if found.get("gap") is not None:
        bounds = f"{number(found['cheeger_lower'])} to {number(found['cheeger_upper'])}"
        text += f"; spectral gap {number(found['gap'])}, Cheeger constant {bounds}"
    if found.get("total_resistance") is not None:
        text += f", total resistance {number(found['total_resistance'])} ohms"
    if found.get("curvature_least") is not None:
        bent = f"{found['curvature_negative']:.0%} of edges are negatively curved"
        text += f"; {bent} (balanced Forman, least {number(found['curvature_least'])}"
        least = found.get("ollivier_ricci_least")
        text += ")" if least is None else f"; Ollivier, least {number(least)})"
    text += f". Kinds of nodes under 1-WL: {number(found['wl_classes'])} without features, {number(found['wl_classes_x'])} with."
    return Finding("", text + _way(found, num_layers))


def _mean(value: float, noun: str) -> str:
    return f"{number(value)} {noun if value == 1 else noun + 's'}"


def _way(topology: dict[str, Any], num_layers: int) -> str:
    """Say what lies between a read-out node and its source, or the farthest node."""
    if topology.get("pair_hops") is None:
        return ""
    text = f" To {'its source' if topology['planted'] else 'the farthest node'} a read-out node has"
    text += f" {_mean(topology['pair_hops'], 'hop')}, {_mean(topology['pair_shortest_paths'], 'shortest path')}"
    text += f", {_mean(topology['pair_walks'], 'walk')} of {plural(num_layers, 'step')}" if num_layers else ""
    for name, unit in (("pair_resistance", "ohms"), ("pair_commute_time", "steps of a walk there and back")):
        text += "" if topology.get(name) is None else f", {number(topology[name])} {unit}"
    cuts = [(name, topology.get(f"pair_{name}_cut")) for name in ("edge", "vertex")]
    said = [_mean(cut, "edge" if name == "edge" else "node") for name, cut in cuts if cut is not None]
    return f"{text}, and a cut of {' or '.join(said)}." if said else f"{text}."
