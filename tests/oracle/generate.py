"""Random models over the whole language, joins in joins included, as text. The layers they resolve to are kept beside the text, so that nin's
checker can be held against them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import prod

from expressions import Binary, Expr, Name, Number, Scope, evaluate, express, number, real
from facts import Graph, Illegal, Layer, Shape, places
from layout import Writer
from syntax import SIGNATURES, Block, Call, Item, Repeat, Use, Value, expand, mapped, names_in

MACS = 1_500_000
"""Multiply-accumulates of one image, at most."""
ELEMENTS = 12_000
"""Numbers in one activation, at most."""
PRODUCTS = 3
"""Layers `mul`, at most: numbers that are multiplied by themselves grow fast."""

SPATIAL = ("conv", "conv", "depthwise", "mlpconv", "maxpool", "avgpool", "lrn")
EXACT = ("relu", "relu", "leaky_relu", "elu", "dropout", "relu6", "prelu", "scale")
ANYWHERE = (*EXACT, "sigmoid", "tanh", "silu", "gelu", "hard_sigmoid", "hard_swish", "batchnorm", "batchnorm")
NAMES = tuple("n k p q t Z x9 s1 a_b width classes kernel eps _drop Deep channels_out".split())
BLOCKS = (*"stage Block unit _b stem tail nin3 down up cell grow mix".split(), *(f"part{n}" for n in range(60)))


@dataclass(frozen=True)
class Model:
    """A text, what to define on the command line, and what it all comes to."""

    text: str
    defines: tuple[str, ...]
    name: str | None
    """`None` of a bare chain, which is named after its file."""
    params: dict[str, int | float]
    layers: list[Layer]


def generate(seed: int) -> Model:
    """The model of a seed."""
    return Generator(seed).model()


class Generator:
    """Draws one model. Every chain is legal as far as it goes: what does not fit is drawn again."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.blocks: list[Block] = []
        self.names = [*NAMES]
        self.rng.shuffle(self.names)
        # Half of the models do without some: whole numbers do not pass them unrounded.
        self.anywhere = ANYWHERE if self.rng.random() < 0.5 else EXACT
        # Most models have groups of one size, if they have any.
        self.ghost = self.rng.choice([0, 2, 3, 4])
        self.joins = self.rng.choice([0.0, 0.15, 0.3, 0.5])

    def model(self) -> Model:
        """The model."""
        rng = self.rng
        scope: Scope = {}
        for _ in range(rng.choice([0, 0, 1, 2, 3, 4])):
            scope[self.names.pop()] = self._constant()
        items = self._chain(scope)
        used = names_in(items)
        scope = {name: value for name, value in scope.items() if name in used}
        defaults = {name: Number(self._other(value)) for name, value in scope.items()}
        defines = tuple(
            f"{name}={number(value)}"
            for name, value in scope.items()
            if defaults[name].value != value or rng.random() < 0.3
        )
        name = None if not scope and rng.random() < 0.5 else rng.choice(["Net", "m", "Deep_3"])
        text = Writer(rng).model(name, defaults, items, self.blocks)
        return Model(text, defines, name, scope, expand(items, scope))

    def _chain(self, scope: Scope) -> list[Item]:
        """The model's whole chain; sometimes a part of it, `input` or `softmax` included, is a block."""
        rng = self.rng
        while True:
            items: list[Item] = [self._input(scope)]
            self._grow(items, scope, rng.randint(1, 8), depth=0)
            try:
                self._head(items, scope)
                facts = _facts(items, scope).facts
            except Illegal:
                facts = []
            # A model without weights, or of one class, has little to say.
            says = facts and any(layer.weights for layer in facts) and facts[-1].output[0] > 1
            if says or facts and rng.random() < 0.1:
                break
            self.blocks.clear()
        if rng.random() < 0.3 and len(items) > 2:
            start = rng.randrange(len(items) - 1)
            end = rng.randint(start + 1, len(items))
            items[start:end] = [self._outline(items[start:end], scope)]
        return items

    def _constant(self) -> int | float:
        rng = self.rng
        return rng.choice([0.0, 0.1, 0.25, 0.5, 1e-3]) if rng.random() < 0.25 else rng.randint(1, 12)

    def _other(self, value: int | float) -> int | float:
        """A default for a parameter of this value: the value, or another of its kind."""
        if self.rng.random() < 0.5:
            return value
        return self.rng.choice([0.5, 0.75, 2.0]) if real(value) else self.rng.randint(0, 20)

    def _input(self, scope: Scope) -> Call:
        rng = self.rng
        c = rng.choice([1, 3, rng.randint(1, 12)])
        h, w = (rng.choice([1, 2, rng.randint(3, 9), rng.randint(5, 24)]) for _ in "hw")
        if rng.random() < 0.3:
            w = h
        return Call("input", {name: express(rng, n, scope) for name, n in zip("chw", (c, h, w), strict=True)})

    def _grow(self, items: list[Item], scope: Scope, count: int, depth: int) -> None:
        """Appends items that fit."""
        for _ in range(count):
            for _ in range(20):
                try:
                    item = self._item(_facts(items, scope).shape, scope, depth)
                    _facts([*items, item], scope)
                except Illegal:
                    continue
                items.append(item)
                break

    def _item(self, shape: Shape, scope: Scope, depth: int) -> Item:
        rng = self.rng
        if depth < 3 and rng.random() < self.joins:
            return self._join(shape, scope, depth)
        draw = rng.random()
        if depth == 3 or draw < 0.7:
            return self._layer(shape, scope)
        if draw < 0.8:
            return Repeat(express(rng, rng.randint(1, 3), scope), self._few(shape, scope, depth))
        if draw < 0.9 or not self.blocks:
            return self._outline(self._few(shape, scope, depth), scope)
        block = rng.choice(self.blocks)
        args = {
            name: express(rng, self._like(default), scope)
            for name, default in block.params.items()
            if default is None or rng.random() < 0.5
        }
        return Use(block, args)

    def _like(self, default: Number | None) -> int | float:
        if default is None or not real(default.value):
            return self.rng.randint(1, 12)
        return self.rng.choice([0.0, 0.1, 0.3, 0.5])

    def _few(self, shape: Shape, scope: Scope, depth: int) -> list[Item]:
        """One to three items that fit one after the other."""
        return self._some(shape, scope, self.rng.randint(1, 3), depth)[0] or [Call("relu")]

    def _some(self, shape: Shape, scope: Scope, count: int, depth: int) -> tuple[list[Item], Shape]:
        """At most so many items that fit one after the other, and what they leave."""
        size = shape if len(shape) == 3 else (shape[0], 1, 1)
        start: list[Item] = [Call("input", {name: Number(n) for name, n in zip("chw", size, strict=True)})]
        if len(shape) == 1:
            start.append(Call("gap"))
        items = [*start]
        self._grow(items, scope, count, depth + 1)
        return items[len(start) :], _facts(items, scope).shape

    def _join(self, shape: Shape, scope: Scope, depth: int) -> Call:
        """A join whose branches go together: the first leaves what it likes, the others what goes with it."""
        rng = self.rng
        word = rng.choice(["add", "add", "add", "concat", "concat", "mul"])
        # A branch that leaves things as they are is as likely as all others.
        lead, target = self._some(shape, scope, rng.choice([0, 0, 0, 1, 1, 2, 3]), depth)
        branches = [lead]
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            wanted = target
            if word == "concat":
                wanted = (rng.choice([target[0], self._channels()]), *target[1:])
            elif word == "mul" and rng.random() < 0.7:
                # A factor a channel; sometimes it is the first branch, and the others are the maps.
                wanted = (target[0],) if rng.random() < 0.7 else (target[0], *(1 for _ in target[1:]))
            branches.append(self._branch(shape, wanted, scope, depth))
        rng.shuffle(branches)
        return Call(word, {}, branches)

    def _branch(self, shape: Shape, wanted: Shape, scope: Scope, depth: int) -> list[Item]:
        """Items that leave a shape; nothing at all, perhaps, where it is there."""
        rng = self.rng
        if shape == wanted and rng.random() < 0.4:
            return []
        items, there = self._some(shape, scope, rng.choice([0, 0, 1, 2]), depth)
        if there != wanted or not items:
            items += self._fit(there, wanted, scope)
        if rng.random() < 0.5:
            word = rng.choice([word for word in self.anywhere if word not in ("dropout", "scale")])
            items.append(Call(word))
        return items

    def _fit(self, shape: Shape, wanted: Shape, scope: Scope) -> list[Item]:
        """Layers that make one shape of another; raises `Illegal` if none is found."""
        rng = self.rng

        def whole(value: int) -> Expr:
            return express(rng, value, scope)

        if len(wanted) == 1:
            pooled = [Call(rng.choice(["gap", "gap", "gmp"]))] if len(shape) == 3 and rng.random() < 0.7 else []
            if pooled and shape[0] == wanted[0] and rng.random() < 0.5:
                return pooled
            return [*pooled, Call("fc", {"n": whole(wanted[0])})]
        if len(shape) == 1:
            raise Illegal("no map is made of a vector")
        word = rng.choice(["conv", "conv", "mlpconv", "maxpool", "avgpool"] if shape[0] == wanted[0] else ["conv"])
        pool = word in ("maxpool", "avgpool")
        windows = []
        for kernel in (1, 2, 3, 5, *sorted({*shape[1:]})):
            for pad in range(kernel // 2 + 1 if pool else 4):
                for stride in range(1, 5):
                    for ceil in (0, 1) if pool else (0,):
                        args = {"kernel": [kernel] * 2, "pad": [pad] * 4, "stride": [stride] * 2, "ceil": ceil}
                        try:
                            if places(shape[1:], args) == wanted[1:]:
                                windows.append((kernel, pad, stride, ceil))
                        except Illegal:
                            pass
        if not windows:
            raise Illegal("no window fits")
        kernel, pad, stride, ceil = rng.choice(windows)
        window = {"stride": whole(stride), "pad": whole(pad)}
        if pool:
            return [Call(word, {"k": whole(kernel), **window, "round": ["floor", "ceil"][ceil]})]
        args = {"kernel": whole(kernel), **window}
        if word == "mlpconv":
            return [Call(word, {"channels": [whole(self._channels()), whole(wanted[0])], **args})]
        return [Call(word, {"c": whole(wanted[0]), "bias": whole(rng.randint(0, 1)), **args})]

    def _layer(self, shape: Shape, scope: Scope) -> Call:
        """A layer that may fit."""
        rng = self.rng
        word = rng.choice(self.anywhere if len(shape) == 1 or rng.random() < 0.35 else SPATIAL)
        if len(shape) == 1 and rng.random() < 0.4:
            word = "fc"

        def whole(value: int) -> Expr:
            return express(rng, value, scope)

        match word:
            case "conv" | "depthwise" | "mlpconv":
                args: dict[str, Value] = {}
                if word == "conv":
                    divisors = [n for n in range(1, 13) if shape[0] % n == 0]
                    groups = rng.choice(divisors) if rng.random() < 0.3 else 1
                    channels = self._channels()
                    args["c"] = whole(channels if groups == 1 else groups * rng.randint(1, 6))
                    args["bias"] = whole(rng.randint(0, 1))
                    if groups > 1:
                        args["groups"] = whole(groups)
                elif word == "depthwise":
                    args["bias"] = whole(rng.randint(0, 1))
                    args["multiplier"] = whole(rng.choice([1, 1, 2, 3]))
                else:
                    args["channels"] = [whole(self._channels()) for _ in range(rng.randint(1, 4))]
                same = rng.random() < 0.5
                pad = rng.choice([0, 0, 1, 2, 3, rng.randint(0, 6)])
                kernel = self._kernel(min(shape[1:]) + 2 * pad)
                args["kernel"] = whole(kernel | 1 if same else kernel)
                args["pad"] = "same" if same else whole(pad)
                args["stride"] = whole(rng.choice([1, 1, 1, 2, 3, rng.randint(1, 6)]))
                if rng.random() < 0.25:
                    sides = [self._kernel(side + 2 * pad) for side in shape[1:]]
                    args["kernel"] = tuple(whole(side | 1 if same else side) for side in sides)
                if rng.random() < 0.15:
                    args["stride"] = (whole(rng.randint(1, 3)), whole(rng.randint(1, 3)))
                if not same and rng.random() < 0.25:
                    args["pad"] = tuple(whole(rng.randint(0, 3)) for _ in range(rng.choice([2, 4])))
                if word != "mlpconv" and rng.random() < 0.2:
                    gaps = [rng.randint(1, 3), rng.randint(1, 4)]
                    args["dilation"] = whole(gaps[0]) if rng.random() < 0.5 else tuple(map(whole, gaps))
            case "maxpool" | "avgpool":
                kernel = self._kernel(min(shape[1:]) * 2)
                args = {"k": whole(kernel), "pad": whole(rng.randint(0, kernel // 2))}
                args["stride"] = "kernel" if rng.random() < 0.3 else whole(rng.choice([1, 2, 3, kernel + 1]))
                args["round"] = rng.choice(["floor", "ceil"])
                if word == "avgpool":
                    args["count"] = rng.choice(["real", "window"])
                if rng.random() < 0.2:
                    sides = [self._kernel(side * 2) for side in shape[1:]]
                    args["k"] = tuple(map(whole, sides))
                    halves = [side // 2 for side in sides] * 2
                    args["pad"] = tuple(whole(rng.randint(0, half)) for half in halves[: rng.choice([2, 4])])
            case "lrn":
                args = {
                    "size": whole(rng.choice([1, 3, 5, 2 * rng.randint(0, 12) + 1])),
                    "alpha": express(rng, rng.choice([1e-4, 0.1, 1.0, 3.0]), scope),
                    "beta": express(rng, rng.choice([0.0, 0.5, 0.75, 0.9, 1.0, 1.3]), scope),
                    "k": express(rng, rng.choice([1.0, 2.0, 0.5]), scope),
                }
            case "dropout":
                args = {"p": express(rng, rng.choice([0.0, 0.1, 0.5, 0.9]), scope)}
            case "leaky_relu":
                args = {"slope": express(rng, rng.choice([0.0, 0.01, 0.1, 0.3, 1.0, 1.5]), scope)}
            case "scale":
                args = {"by": express(rng, rng.choice([0.5, 2.0, 0.1, 1.0, 3.0, 0.0]), scope)}
            case "elu":
                args = {"alpha": express(rng, rng.choice([0.0, 0.1, 0.5, 1.0, 1.5]), scope)}
            case "batchnorm":
                args = {
                    "eps": express(rng, rng.choice([1e-5, 1e-3, 0.1, 1.0]), scope),
                    "momentum": express(rng, rng.choice([0.1, 0.01, 0.9, 0.0, 1.0]), scope),
                    "ghost": whole(rng.choice([0, self.ghost, self.ghost, rng.choice([2, 3, 5, 8])])),
                }
            case "fc":
                args = {"n": whole(self._channels()), "bias": whole(rng.randint(0, 1))}
            case _:
                args = {}
        return Call(word, self._defaults(word, args))

    def _channels(self) -> int:
        rng = self.rng
        return rng.choice([1, 2, 3, 8, 10, 16, 8 * rng.randint(1, 5), rng.randint(1, 40)])

    def _kernel(self, most: int) -> int:
        rng = self.rng
        return min(rng.choice([1, 2, 3, 3, 5, rng.randint(1, 11)]), max(1, most))

    def _defaults(self, word: str, args: dict[str, Value]) -> dict[str, Value]:
        """Leaves some arguments out that have a default, whatever was drawn for them."""
        required = {name for name, default in SIGNATURES[word] if default is None}
        kept = {name: value for name, value in args.items() if name in required or self.rng.random() < 0.7}
        # What stands for a default is not written.
        return {name: value for name, value in kept.items() if value != "kernel"}

    def _head(self, items: list[Item], scope: Scope) -> None:
        """Ends the chain: mostly as a classifier, sometimes in a map."""
        rng = self.rng
        if rng.random() < 0.06:
            return
        if rng.random() < 0.75:
            items.append(Call(rng.choice(["gap", "gap", "gmp"])))
        else:
            items.append(Call("fc", {"n": express(rng, self._channels(), scope)}))
        self._grow(items, scope, rng.choice([0, 0, 1, 2, 3]), depth=0)
        if rng.random() < 0.75:
            items.append(Call("softmax"))

    def _outline(self, items: list[Item], scope: Scope) -> Use:
        """Puts items into a new block, and some of their numbers into its parameters."""
        rng = self.rng
        params: dict[str, Number | None] = {}
        args: dict[str, Expr] = {}
        within: dict[Name, Name] = {}

        def parameter(expr: Expr) -> Name:
            name = rng.choice([n for n in (*NAMES, *scope) if n not in params])
            value, kind = evaluate(expr, scope), rng.random()
            params[name] = None if kind < 0.5 else Number(value if kind < 0.7 else self._other(value))
            args[name] = expr
            if params[name] == Number(value) and rng.random() < 0.6:
                # The default will do.
                del args[name]
            return Name(name)

        def lift(expr: Expr) -> Expr:
            room = len(params) < 6
            if room and rng.random() < 0.35:
                return parameter(expr)
            match expr:
                case Name() if expr not in within:
                    within[expr] = parameter(expr)
                    return within[expr]
                case Name():
                    return within[expr]
                case Binary():
                    return Binary(expr.op, lift(expr.left), lift(expr.right))
                case _:
                    return expr

        body = [mapped(item, lift) for item in items]
        taken = {block.name for block in self.blocks}
        name = rng.choice([n for n in BLOCKS if n not in taken])
        block = Block(name, params, body)
        self.blocks.append(block)
        return Use(block, args)


def _facts(items: list[Item], scope: Scope) -> Graph:
    """The model so far; `Illegal` if it breaks a rule or is too large for the oracle."""
    graph = Graph()
    macs = products = 0
    for layer in expand(items, scope):
        graph.push(layer)
        macs += graph.facts[-1].macs
        products += layer.kind == "mul"
        if macs > MACS or prod(graph.shape) > ELEMENTS or products > PRODUCTS:
            raise Illegal("too large for the oracle")
    return graph
