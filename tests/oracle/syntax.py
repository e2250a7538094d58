"""Models as they are written: calls with their branches, repetitions and blocks, and the layers they stand for."""

from __future__ import annotations

from dataclasses import dataclass, field

from expressions import Binary, Expr, Name, Number, Scope, evaluate, real
from facts import JOINS, Illegal, Layer

LAYERS = 60
"""Layers of a model, at most."""

SIGNATURES: dict[str, list[tuple[str, object]]] = {
    "input": [("c", None), ("h", None), ("w", None)],
    "conv": [
        ("c", None),
        ("kernel", 3),
        ("stride", 1),
        ("pad", "same"),
        ("bias", 1),
        ("groups", 1),
        ("dilation", 1),
    ],
    "depthwise": [("kernel", 3), ("stride", 1), ("pad", "same"), ("bias", 1), ("dilation", 1), ("multiplier", 1)],
    "mlpconv": [("channels", None), ("kernel", 3), ("stride", 1), ("pad", "same")],
    "maxpool": [("k", None), ("stride", "kernel"), ("pad", 0), ("round", "floor")],
    "avgpool": [("k", None), ("stride", "kernel"), ("pad", 0), ("round", "floor"), ("count", "real")],
    "dropout": [("p", None)],
    "relu": [],
    "leaky_relu": [("slope", 0.01)],
    "elu": [("alpha", 1.0)],
    "relu6": [],
    "sigmoid": [],
    "tanh": [],
    "silu": [],
    "gelu": [],
    "hard_sigmoid": [],
    "hard_swish": [],
    "prelu": [],
    "scale": [("by", None)],
    "batchnorm": [("eps", 1e-5), ("momentum", 0.1), ("ghost", 0)],
    "gap": [],
    "gmp": [],
    "lrn": [("size", 5), ("alpha", 1e-4), ("beta", 0.75), ("k", 1.0)],
    "fc": [("n", None), ("bias", 1)],
    "softmax": [],
    "add": [],
    "concat": [],
    "mul": [],
}
"""The arguments of each layer in order of position, with their defaults; `None` is required."""

Value = Expr | str | list[Expr] | tuple[Expr, ...]
"""An argument as written: an expression, a word, a channel list, or a number for each axis or side."""


@dataclass
class Call:
    """A layer as written, with the chains behind it that are its branches."""

    word: str
    args: dict[str, Value] = field(default_factory=dict)
    branches: list[list[Item]] = field(default_factory=list)


@dataclass
class Repeat:
    """`repeat(count) < ... >`"""

    count: Expr
    items: list[Item]


@dataclass
class Block:
    """`block name(...) < ... >`; a parameter's default may be `None`."""

    name: str
    params: dict[str, Number | None]
    items: list[Item]


@dataclass
class Use:
    """A block in its place."""

    block: Block
    args: dict[str, Expr]


Item = Call | Repeat | Use


def expand(items: list[Item], scope: Scope) -> list[Layer]:
    """Replaces blocks, repetitions and branches by what they stand for, in the order of the text: a join comes where it
    closes. An argument out of its range is `Illegal`.
    """
    layers: list[Layer] = []
    _expand(items, scope, layers, None)
    return layers


def _expand(items: list[Item], scope: Scope, layers: list[Layer], before: int | None) -> int | None:
    """Appends the layers of a chain that reads what `before` leaves; the one whose result the chain leaves."""
    for item in items:
        match item:
            case Call():
                branches = [_expand(branch, scope, layers, before) for branch in item.branches]
                if (item.word in JOINS) != (len(branches) > 1) or None in branches:
                    raise Illegal("a join has two branches or more, and something before it; others have none")
                inputs = tuple(branches) or (() if before is None else (before,))
                layers.append(_resolve(item, scope, inputs))
                before = len(layers) - 1
            case Repeat():
                count = evaluate(item.count, scope)
                if count < 1:
                    raise Illegal("repeated less than once")
                for _ in range(count):
                    before = _expand(item.items, scope, layers, before)
            case Use():
                inner = {}
                for name, default in item.block.params.items():
                    value = evaluate(item.args[name], scope) if name in item.args else default.value
                    # A parameter is whole or real as its default is.
                    inner[name] = float(value) if default is not None and real(default.value) else value
                before = _expand(item.block.items, inner, layers, before)
        if len(layers) > LAYERS:
            raise Illegal("too long for the oracle")
    return before


def _resolve(call: Call, scope: Scope, inputs: tuple[int, ...]) -> Layer:
    """A layer with its arguments as numbers, defaults filled in."""
    values: dict[str, object] = {}
    for name, default in SIGNATURES[call.word]:
        match call.args.get(name, default):
            case list() as channels:
                values[name] = [evaluate(one, scope) for one in channels]
            case tuple() as sides:
                values[name] = tuple(evaluate(one, scope) for one in sides)
            case "kernel":
                values[name] = values["k"]
            case "same":
                values[name] = "same"
            case ("floor" | "ceil") as word:
                values[name] = int(word == "ceil")
            case ("real" | "window") as word:
                values[name] = int(word == "window")
            case Number() | Name() | Binary() as expr:
                values[name] = evaluate(expr, scope)
            case constant:
                values[name] = constant
    values = {KEYS.get((call.word, name), name): value for name, value in values.items()}
    if call.word == "conv":
        values["channels"] = [values["channels"]]
    if values.get("ghost") == 1:
        raise Illegal("groups of one image")
    if call.word == "lrn" and values["size"] % 2 == 0:
        raise Illegal("a size that is even")
    for name, value in values.items():
        if value == "same":
            continue
        numbers = value if isinstance(value, list | tuple) else [value]
        least, most = RANGES.get(name, (1, 1 << 28))
        whole = name not in REALS
        if any(not least <= n <= most or (whole and real(n)) for n in numbers):
            raise Illegal(f"{name} = {value}")
        if not whole:
            values[name] = float(value)
    for name, sides in SIDES.items():
        if name in values and values[name] != "same":
            written = values[name] if isinstance(values[name], tuple) else (values[name],)
            values[name] = [*written] * (sides // len(written))
    if values.get("pad") == "same":
        if any(side % 2 == 0 for side in values["kernel"]):
            raise Illegal("pad = same with an even kernel")
        gaps = values.get("dilation", [1, 1])
        values["pad"] = [gap * (side - 1) // 2 for gap, side in zip(gaps, values["kernel"], strict=True)] * 2
    return Layer(call.word, values, inputs)


KEYS = {
    ("conv", "c"): "channels",
    ("maxpool", "k"): "kernel",
    ("avgpool", "k"): "kernel",
    ("maxpool", "round"): "ceil",
    ("avgpool", "round"): "ceil",
}
"""Arguments that `nin check --json` has under another name."""
RANGES = {
    "pad": (0, 1 << 28),
    "bias": (0, 1),
    "ceil": (0, 1),
    "count": (0, 1),
    "p": (0, 0.999),
    "slope": (0, 100),
    "alpha": (0, 100),
    "by": (-(1 << 28), 1 << 28),
    "beta": (0, 100),
    "k": (1e-12, 1 << 28),
    "eps": (1e-12, 1),
    "momentum": (0, 1),
    "ghost": (0, 1 << 28),
}
"""Least and most of the arguments that do not begin at 1."""
REALS = ("p", "slope", "alpha", "by", "eps", "momentum", "beta", "k")
SIDES = {"kernel": 2, "stride": 2, "dilation": 2, "pad": 4}
"""Arguments of windows, which are written as one number for all sides, one for each axis, or one for each side."""


def mapped(item: Item, change) -> Item:
    """An item with its expressions changed."""
    match item:
        case Call():
            args: dict[str, Value] = {}
            for name, value in item.args.items():
                match value:
                    case list():
                        args[name] = [change(one) for one in value]
                    case tuple():
                        args[name] = tuple(change(one) for one in value)
                    case str():
                        args[name] = value
                    case _:
                        args[name] = change(value)
            branches = [[mapped(inner, change) for inner in branch] for branch in item.branches]
            return Call(item.word, args, branches)
        case Repeat():
            return Repeat(change(item.count), [mapped(inner, change) for inner in item.items])
        case Use():
            return Use(item.block, {name: change(value) for name, value in item.args.items()})


def names_in(items: list[Item]) -> set[str]:
    """The parameters that a chain uses."""
    found: set[str] = set()

    def look(expr: Expr) -> Expr:
        match expr:
            case Name():
                found.add(expr.text)
            case Binary():
                look(expr.left)
                look(expr.right)
        return expr

    for item in items:
        mapped(item, look)
    return found
