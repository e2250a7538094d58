"""Model texts in any of the ways the language lets them be written."""

from __future__ import annotations

import random
from collections.abc import Sequence

from expressions import Expr, Number, express, number, written
from facts import JOINS, Graph, Layer
from syntax import SIDES, SIGNATURES, Block, Call, Item, Repeat, Use, Value

COMMENTS = ("// a comment", "/* a comment */", "/* one /* in */ another */")


class Writer:
    """Writes one model."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def model(self, name: str | None, defaults: dict[str, Number], items: list[Item], blocks: Sequence[Block]) -> str:
        """A whole text: blocks before and after the model. Without a name, a bare chain."""
        chain = self._chain(items, 0)
        texts = [self._block(block) for block in blocks]
        if name is None:
            texts.append(chain)
        else:
            given = [f"{key} = {self._expr(express(self.rng, default.value, {}))}" for key, default in defaults.items()]
            params = f"({self._list(given)})" if given else self.rng.choice(["", "()"])
            texts.append(f"{self._before()}model {name}{params} {chain}")
        self.rng.shuffle(texts)
        return "\n".join(texts) + "\n"

    def _before(self) -> str:
        """What may stand before a definition."""
        doc = self.rng.choice(["", "", "/// Words about it.\n", "/** Words about it. */ "])
        return doc + self.rng.choice(["", "", "pub ", "pub(crate) "])

    def _block(self, block: Block) -> str:
        params = [
            name if default is None else f"{name} = {number(default.value)}" for name, default in block.params.items()
        ]
        head = f"({self._list(params)})" if params else self.rng.choice(["", "()"])
        return f"{self._before()}block {block.name}{head} {self._chain(block.items, 0)}"

    def _chain(self, items: list[Item], depth: int) -> str:
        rng = self.rng
        if not items and rng.random() < 0.7:
            return rng.choice(["< >", "<>", "<\n>", "< /* as it is */ >"])
        text = "<"
        for item in items:
            if rng.random() < 0.06:
                text += f" {rng.choice(COMMENTS)}"
            line = "\n" + "    " * (depth + 1)
            text += line if "//" in text.rsplit("\n", 1)[-1] or rng.random() < 0.8 else " "
            text += self._item(item, depth) + rng.choice(["", "", "", "", ",", ";", " ;"])
        return f"{text}\n{'    ' * depth}>"

    def _item(self, item: Item, depth: int) -> str:
        match item:
            case Repeat():
                return f"repeat({self._expr(item.count)}) {self._chain(item.items, depth + 1)}"
            case Use():
                return self._call(item.block.name, list(item.block.params), item.args)
            case Call():
                text = self._call(item.word, [name for name, _ in SIGNATURES[item.word]], item.args)
                for branch in item.branches:
                    text += self.rng.choice([" ", "", "\n" + "    " * (depth + 2), " /* and */ ", " // and\n"])
                    text += self._chain(branch, depth + 2)
                return text

    def _call(self, word: str, order: list[str], args: dict[str, Value]) -> str:
        """A call: some arguments by position, the others in any order by name."""
        rng = self.rng
        if not args:
            return word + rng.choice(["", "", "()"])
        prefix = 0
        while prefix < len(order) and order[prefix] in args:
            prefix += 1
        if "channels" in args:
            # All arguments without a name belong to the list.
            prefix = 1
        elif rng.random() < 0.6:
            prefix = rng.randint(0, prefix)
        words = [text for name in order[:prefix] for text in self._values(args[name])]
        named = [name for name in args if name not in order[:prefix]]
        rng.shuffle(named)
        words += [f"{name} = {self._values(args[name])[0]}" for name in named]
        return f"{word}({self._list(words)})"

    def _values(self, value: Value) -> list[str]:
        match value:
            case str():
                return [value]
            case list():
                return [self._expr(one) for one in value]
            case tuple():
                return [f"({', '.join(self._expr(one) for one in value)})"]
            case _:
                return [self._expr(value)]

    def _expr(self, expr: Expr) -> str:
        return written(expr, self.rng)

    def _list(self, words: list[str]) -> str:
        return ", ".join(words) + self.rng.choice(["", "", "", ","])


def resolved(layers: list[Layer]) -> str:
    """A model of these layers, as a bare chain."""
    graph = Graph()
    for layer in layers:
        graph.push(layer)

    def chain(at: int | None, before: int | None) -> str:
        """The chain that reads what `before` leaves, and leaves what `at` does."""
        words = []
        while at != before:
            layer, source = layers[at], graph.before[at]
            branches = "".join(f" {chain(branch, source)}" for branch in layer.inputs if layer.kind in JOINS)
            words.append(_resolved(layer) + branches)
            at = source
        return "".join(["<\n", *(f"{word}\n" for word in reversed(words)), ">"])

    return chain(len(layers) - 1, None) + "\n"


def _resolved(layer: Layer) -> str:
    args = dict(layer.args)
    if layer.kind == "input":
        return "input({c}, {h}, {w})".format(**args)
    words = [str(x) for x in args.pop("channels", [])]
    for name in SIDES:
        if name in args:
            first, *others = args[name]
            if any(other != first for other in others):
                first = f"({', '.join(map(str, args[name]))})"
            args[name] = first
    if "ceil" in args:
        args["round"] = "ceil" if args.pop("ceil") else "floor"
        words.append(str(args.pop("kernel")))
    if "count" in args:
        args["count"] = "window" if args.pop("count") else "real"
    words += [f"{name} = {x}" for name, x in args.items()]
    return f"{layer.kind}({', '.join(words)})" if words else layer.kind
