"""What docs/language.md says about the layers of a model: shapes, weights, parameters, multiply-accumulates, activation
bytes and receptive fields. Written from the language's tables, and not from nin's checker, which it is held against.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

Shape = tuple[int, ...]
"""`(c, h, w)` of a map, `(n,)` of a vector."""

TRAINED = ("weight", "bias")
"""Last parts of the names of weights that have a gradient."""

JOINS = ("add", "concat", "mul")
"""Layers that read the results of branches."""


class Illegal(Exception):
    """The language does not allow this layer here."""


@dataclass(frozen=True)
class Layer:
    """A layer with every argument resolved to numbers, as `nin check --json` has it."""

    kind: str
    args: dict[str, int | float | list[int]] = field(default_factory=dict)
    inputs: tuple[int, ...] = ()
    """Where in the list of layers those stand whose results it reads."""


@dataclass(frozen=True)
class Facts:
    """A layer in its place, in the words of `nin check --json`."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    input: Shape
    output: Shape
    params: int
    macs: int
    activation_bytes: int
    receptive_field: tuple[int, int]
    weights: dict[str, Shape]
    """Shapes of all tensors in a weights file, running statistics included, by name."""


class Graph:
    """The facts of a model, layer by layer in the order of the text."""

    def __init__(self) -> None:
        self.facts: list[Facts] = []
        self.before: list[int | None] = []
        """Where the layer stands that is before each in its chain: before its word, where it is a join."""
        self._numbers: dict[str, int] = {}
        self._steps: list[tuple[int, int]] = []
        """How many pixels of the input neighbours are apart, on each axis, behind each layer."""

    @property
    def shape(self) -> Shape:
        """What the last layer leaves."""
        return self.facts[-1].output

    def push(self, layer: Layer) -> None:
        """Appends a layer, or raises `Illegal` and leaves the model as it was."""
        kind, args = layer.kind, layer.args
        read = [self.facts[index] for index in layer.inputs]
        if any(facts.kind == "softmax" for facts in read):
            raise Illegal("a layer after softmax")
        if (kind == "input") != (not self.facts) or (kind == "input") != (not read):
            raise Illegal("input comes first, and once")
        shapes = [facts.output for facts in read] or [(args["c"], args["h"], args["w"])]
        before = self._common(layer.inputs)
        number = self._numbers.get(kind, 0) + 1
        name = f"{kind}{number}"
        if kind in JOINS:
            output = joined(kind, shapes)
            weights, macs, kept = {}, 0, prod(output)
        else:
            output, weights, macs, kept = _layer(name, layer, shapes[0])
        if min(output) < 1:
            raise Illegal("an empty output")
        self._numbers[kind] = number
        sees, step = self._look(layer, shapes[0])
        self._steps.append(step)
        self.before.append(before)
        trained = (shape for name, shape in weights.items() if name.rsplit(".", 1)[-1] in TRAINED)
        self.facts.append(
            Facts(
                name=name,
                kind=kind,
                inputs=tuple(facts.name for facts in read),
                input=shapes[0] if before is None else self.facts[before].output,
                output=output,
                params=sum(map(prod, trained)),
                macs=macs,
                activation_bytes=4 * kept,
                receptive_field=sees,
                weights=weights,
            )
        )

    def _common(self, inputs: tuple[int, ...]) -> int | None:
        """The last layer that the results of all branches come from, or are: what the branches read."""
        common: set[int] | None = None
        for at in inputs:
            walk = set()
            while at is not None:
                walk.add(at)
                at = self.before[at]
            common = walk if common is None else common & walk
        return max(common) if common else None

    def _look(self, layer: Layer, source: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
        """How many pixels of the input one pixel of the output sees, and how far apart neighbours see: of what is read,
        the most on each axis, and what the layer adds.
        """

        def most(pairs: list[tuple[int, int]]) -> tuple[int, int]:
            return tuple(max(pair[axis] for pair in pairs) for axis in (0, 1)) if pairs else (1, 1)

        sees = most([self.facts[index].receptive_field for index in layer.inputs])
        step = most([self._steps[index] for index in layer.inputs])
        window, stride = (1, 1), (1, 1)
        if "kernel" in layer.args:
            gaps = layer.args.get("dilation", [1, 1])
            window = [reach(side, gap) for side, gap in zip(layer.args["kernel"], gaps, strict=True)]
            stride = layer.args["stride"]
        elif layer.kind in ("gap", "gmp", "fc") and len(source) == 3:
            window = source[1:]
        return (
            tuple(seen + (side - 1) * apart for seen, side, apart in zip(sees, window, step, strict=True)),
            tuple(apart * pixels for apart, pixels in zip(step, stride, strict=True)),
        )


def describe(layers: list[Layer]) -> list[Facts]:
    """The facts of a whole model; raises `Illegal`."""
    graph = Graph()
    for layer in layers:
        graph.push(layer)
    return graph.facts


def checked(layers: list[dict]) -> list[Layer]:
    """The layers of `nin check --json`; raises `KeyError` if one reads what comes later or is not there."""
    places: dict[str, int] = {}
    read = []
    for layer in layers:
        read.append(Layer(layer["kind"], layer["args"], tuple(places[name] for name in layer["inputs"])))
        places[layer["name"]] = len(places)
    return read


def in_a_row(layers: list[Layer]) -> list[Layer]:
    """Layers each of which reads what the one before it leaves."""
    return [replace(layer, inputs=(index - 1,) if index else ()) for index, layer in enumerate(layers)]


def leading_to(layers: list[Layer], last: int) -> list[int]:
    """Where those layers stand that the result of one comes from, itself included, in their order."""
    needed = {last}
    for index in range(last, -1, -1):
        if index in needed:
            needed.update(layers[index].inputs)
    return sorted(needed)


def without(layers: list[Layer], kind: str) -> list[Layer]:
    """The layers but those of one kind, each of which reads one result: who reads theirs reads that."""
    kept: list[Layer] = []
    places: list[int] = []
    for layer in layers:
        inputs = tuple(places[index] for index in layer.inputs)
        if layer.kind == kind:
            places.append(*inputs)
        else:
            places.append(len(kept))
            kept.append(replace(layer, inputs=inputs))
    return kept


def joined(kind: str, shapes: list[Shape]) -> Shape:
    """What a join leaves of its branches' results."""
    first = shapes[0]
    match kind:
        case "add" if all(shape == first for shape in shapes):
            return first
        case "concat" if all(len(shape) == len(first) and shape[1:] == first[1:] for shape in shapes):
            return (sum(shape[0] for shape in shapes), *first[1:])
        case "mul" if all(shape[0] == first[0] for shape in shapes):
            # A factor a channel goes with anything; among themselves, maps with more than a pixel are of one size.
            maps = [shape for shape in shapes if len(shape) == 3]
            large = {shape for shape in maps if shape[1:] != (1, 1)}
            if len(large) < 2:
                return large.pop() if large else (maps or shapes)[0]
    raise Illegal("branches that do not go together")


def _layer(name: str, layer: Layer, source: Shape) -> tuple[Shape, dict[str, Shape], int, int]:
    """Output shape, weights, multiply-accumulates and kept numbers of one image."""
    args = layer.args
    match layer.kind:
        case "conv" | "depthwise" | "mlpconv":
            return _convolutions(name, layer, source)
        case "maxpool" | "avgpool":
            c, h, w = _map(source)
            if any(pad > side // 2 for pad, side in zip(args["pad"], args["kernel"] * 2, strict=True)):
                raise Illegal("a pool's padding is at most half its kernel")
            output = (c, *places((h, w), args))
            return output, {}, 0, prod(output)
        case "batchnorm":
            c = source[0]
            parts = ("weight", "bias", "running_mean", "running_var")
            return source, {f"{name}.{part}": (c,) for part in parts}, 0, prod(source)
        case "lrn":
            return _map(source), {}, 0, prod(source)
        case "gap" | "gmp":
            c, _, _ = _map(source)
            return (c,), {}, 0, c
        case "fc":
            n, inputs = args["n"], prod(source)
            weights = {f"{name}.weight": (n, inputs)}
            if args["bias"]:
                weights[f"{name}.bias"] = (n,)
            return (n,), weights, n * inputs, n
        case "softmax":
            if len(source) == 3:
                raise Illegal("softmax over a map")
            return source, {}, 0, prod(source)
        case "prelu":
            return source, {f"{name}.weight": (source[0],)}, 0, prod(source)
        case "input" | "dropout" | "relu" | "leaky_relu" | "elu" | "relu6" | "sigmoid" | "tanh":
            return source, {}, 0, prod(source)
        case "silu" | "gelu" | "hard_sigmoid" | "hard_swish" | "scale":
            return source, {}, 0, prod(source)
        case kind:
            raise Illegal(f"no layer {kind}")


def _convolutions(name: str, layer: Layer, source: Shape) -> tuple[Shape, dict[str, Shape], int, int]:
    """A `conv`, or the several of an `mlpconv`: k x k, then 1 x 1. All but the first read what the one before left."""
    args = layer.args
    c, h, w = _map(source)
    groups = c if layer.kind == "depthwise" else args.get("groups", 1)
    h, w = places((h, w), args)
    weights: dict[str, Shape] = {}
    macs = kept = 0
    for index, channels in enumerate(args.get("channels") or [c * args["multiplier"]]):
        if c % groups or channels % groups:
            raise Illegal("groups that do not divide the channels")
        part = name if layer.kind != "mlpconv" else f"{name}.{f'cccp{index}' if index else 'conv'}"
        kernel = [1, 1] if index else args["kernel"]
        weights[f"{part}.weight"] = (channels, c // groups, *kernel)
        if args.get("bias", 1):
            weights[f"{part}.bias"] = (channels,)
        macs += channels * (c // groups) * prod(kernel) * h * w
        kept += channels * h * w
        c = channels
    return (c, h, w), weights, macs, kept


def _map(shape: Shape) -> Shape:
    if len(shape) != 3:
        raise Illegal("a spatial layer over a vector")
    return shape


def places(sides: tuple[int, int], args: dict[str, list[int]]) -> tuple[int, int]:
    """How many places a window has along the height and the width of a map."""
    stride, pad = args["stride"], args["pad"]
    kernel = [reach(side, gap) for side, gap in zip(args["kernel"], args.get("dilation", [1, 1]), strict=True)]
    return tuple(
        _places(sides[axis], kernel[axis], stride[axis], pad[axis], pad[axis + 2], args.get("ceil", 0))
        for axis in (0, 1)
    )


def reach(kernel: int, dilation: int) -> int:
    """Pixels from a window's first tap to its last, both included."""
    return dilation * (kernel - 1) + 1


def _places(size: int, kernel: int, stride: int, before: int, after: int, ceil: int) -> int:
    room = size + before + after - kernel
    if room < 0:
        raise Illegal("a window larger than its padded input")
    count = (room + stride - 1 if ceil else room) // stride + 1
    # A last window that would begin beyond the input is dropped.
    return count - 1 if ceil and (count - 1) * stride >= size + before else count
