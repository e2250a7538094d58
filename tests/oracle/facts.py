"""What docs/language.md says about a chain of layers: shapes, weights, parameters, multiply-accumulates, activation
bytes and receptive fields. Written from the language's tables, and not from nin's checker, which it is held against.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

Shape = tuple[int, ...]
"""`(c, h, w)` of a map, `(n,)` of a vector."""

TRAINED = ("weight", "bias")
"""Last parts of the names of weights that have a gradient."""


class Illegal(Exception):
    """The language does not allow this layer here."""


@dataclass(frozen=True)
class Layer:
    """A layer with every argument resolved to a number, as `nin check --json` has it."""

    kind: str
    args: dict[str, int | float | list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """A layer in its place, in the words of `nin check --json`."""

    name: str
    kind: str
    input: Shape
    output: Shape
    params: int
    macs: int
    activation_bytes: int
    receptive_field: int
    weights: dict[str, Shape]
    """Shapes of all tensors in a weights file, running statistics included, by name."""


class Chain:
    """The facts of a chain, layer by layer."""

    def __init__(self) -> None:
        self.facts: list[Facts] = []
        self._numbers: dict[str, int] = {}
        self._sees = 1
        self._jump = 1

    @property
    def shape(self) -> Shape:
        """What the next layer reads."""
        return self.facts[-1].output

    def copy(self) -> Chain:
        """A chain that grows on its own."""
        other = Chain()
        other.facts = list(self.facts)
        other._numbers = dict(self._numbers)
        other._sees, other._jump = self._sees, self._jump
        return other

    def push(self, layer: Layer) -> None:
        """Appends a layer, or raises `Illegal` and leaves the chain as it was."""
        kind, args = layer.kind, layer.args
        if self.facts and self.facts[-1].kind == "softmax":
            raise Illegal("a layer after softmax")
        if (kind == "input") != (not self.facts):
            raise Illegal("input comes first, and once")
        source = (args["c"], args["h"], args["w"]) if kind == "input" else self.shape
        number = self._numbers.get(kind, 0) + 1
        name = f"{kind}{number}"
        output, weights, macs, kept = _layer(name, layer, source)
        if min(output) < 1:
            raise Illegal("an empty output")
        self._numbers[kind] = number
        self._look(layer, source)
        trained = (shape for name, shape in weights.items() if name.rsplit(".", 1)[-1] in TRAINED)
        self.facts.append(
            Facts(
                name=name,
                kind=kind,
                input=source,
                output=output,
                params=sum(map(prod, trained)),
                macs=macs,
                activation_bytes=4 * kept,
                receptive_field=self._sees,
                weights=weights,
            )
        )

    def _look(self, layer: Layer, source: Shape) -> None:
        """How many input pixels one output pixel sees now, and how far apart neighbours see."""
        if "kernel" in layer.args:
            self._sees += (layer.args["kernel"] - 1) * self._jump
            self._jump *= layer.args["stride"]
        elif layer.kind in ("gap", "fc") and len(source) == 3:
            self._sees += (max(source[1:]) - 1) * self._jump


def describe(layers: list[Layer]) -> list[Facts]:
    """The facts of a whole chain; raises `Illegal`."""
    chain = Chain()
    for layer in layers:
        chain.push(layer)
    return chain.facts


def _layer(name: str, layer: Layer, source: Shape) -> tuple[Shape, dict[str, Shape], int, int]:
    """Output shape, weights, multiply-accumulates and kept numbers of one image."""
    args = layer.args
    match layer.kind:
        case "conv" | "mlpconv":
            return _convolutions(name, layer, source)
        case "maxpool" | "avgpool":
            c, h, w = _map(source)
            if args["pad"] > args["kernel"] // 2:
                raise Illegal("a pool's padding is at most half its kernel")
            output = (c, *(places(size, args) for size in (h, w)))
            return output, {}, 0, prod(output)
        case "batchnorm":
            c = source[0]
            parts = ("weight", "bias", "running_mean", "running_var")
            return source, {f"{name}.{part}": (c,) for part in parts}, 0, prod(source)
        case "gap":
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
        case "input" | "relu" | "leaky_relu" | "elu" | "dropout":
            return source, {}, 0, prod(source)
        case kind:
            raise Illegal(f"no layer {kind}")


def _convolutions(name: str, layer: Layer, source: Shape) -> tuple[Shape, dict[str, Shape], int, int]:
    """A `conv`, or the several of an `mlpconv`: k x k, then 1 x 1. All but the first read what the one before left."""
    args = layer.args
    c, h, w = _map(source)
    h, w = (places(size, args) for size in (h, w))
    weights: dict[str, Shape] = {}
    macs = kept = 0
    for index, channels in enumerate(args["channels"]):
        part = name if layer.kind == "conv" else f"{name}.{f'cccp{index}' if index else 'conv'}"
        kernel = 1 if index else args["kernel"]
        weights[f"{part}.weight"] = (channels, c, kernel, kernel)
        if args.get("bias", 1):
            weights[f"{part}.bias"] = (channels,)
        macs += channels * c * kernel * kernel * h * w
        kept += channels * h * w
        c = channels
    return (c, h, w), weights, macs, kept


def _map(shape: Shape) -> Shape:
    if len(shape) != 3:
        raise Illegal("a spatial layer over a vector")
    return shape


def places(size: int, args: dict[str, int]) -> int:
    """How many places a window has along a side of `size` pixels."""
    kernel, stride, pad, ceil = args["kernel"], args["stride"], args["pad"], args.get("ceil", 0)
    room = size + 2 * pad - kernel
    if room < 0:
        raise Illegal("a window larger than its padded input")
    count = (room + stride - 1 if ceil else room) // stride + 1
    # A last window that would begin beyond the input is dropped.
    return count - 1 if ceil and (count - 1) * stride >= size + pad else count
