"""Arithmetic over numbers and parameters, as the language has it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from facts import Illegal

Scope = dict[str, int | float]


@dataclass(frozen=True)
class Number:
    """A whole (`int`) or real (`float`) number."""

    value: int | float


@dataclass(frozen=True)
class Name:
    """A parameter."""

    text: str


@dataclass(frozen=True)
class Binary:
    """`left op right`, for `+ - * /`."""

    op: str
    left: Expr
    right: Expr


Expr = Number | Name | Binary


def real(value: int | float) -> bool:
    """Whether a number is real, even if it has no fraction."""
    return isinstance(value, float)


def evaluate(expr: Expr, scope: Scope) -> int | float:
    """The number an expression stands for. Whole numbers divide towards zero; whole and real make real."""
    match expr:
        case Number():
            return expr.value
        case Name():
            return scope[expr.text]
        case Binary():
            a, b = evaluate(expr.left, scope), evaluate(expr.right, scope)
            match expr.op:
                case "+":
                    return a + b
                case "-":
                    return a - b
                case "*":
                    return a * b
                case _ if b == 0:
                    raise Illegal("division by zero")
                case _ if real(a) or real(b):
                    return a / b
                case _:
                    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def written(expr: Expr, rng: random.Random, *, within: str = "", right: bool = False) -> str:
    """The text of an expression, inside an operator or alone, with no more parentheses than it needs or a few."""
    match expr:
        case Number():
            return number(expr.value)
        case Name():
            return expr.text
        case Binary():
            left = written(expr.left, rng, within=expr.op)
            space = rng.choice([" ", " ", ""])
            text = f"{left}{space}{expr.op}{space}{written(expr.right, rng, within=expr.op, right=True)}"
            weak = expr.op in "+-"
            needed = within != "" and (weak and within in "*/" or right and weak == (within in "+-"))
            return f"({text})" if needed or rng.random() < 0.1 else text


def number(value: int | float) -> str:
    """A number as it is written; a real one always shows that it is."""
    if not real(value):
        return str(value)
    text = repr(value)
    return text if "." in text or "e" in text else f"{text}.0"


def express(rng: random.Random, value: int | float, scope: Scope) -> Expr:
    """An expression of a given value over the parameters."""
    wanted = real(value)
    names = [name for name, there in scope.items() if real(there) == wanted]
    draw = rng.random()
    if draw < 0.5 or wanted and not names:
        return Number(value)
    exact = [name for name in names if scope[name] == value]
    if exact and draw < 0.9:
        return Name(rng.choice(exact))
    if wanted:
        return Number(value)
    base: Expr = Name(rng.choice(names)) if names else Number(rng.randint(1, 9))
    there = evaluate(base, scope)
    # (base + rest) / divisor, the quotient rounded towards zero.
    divisor = rng.randint(2, 4)
    forms = [Binary("*", Number(1), Number(value))]
    if value >= there:
        forms.append(Binary("+", base, Number(value - there)))
    else:
        forms.append(Binary("-", base, Number(there - value)))
    if there > 0 and value % there == 0:
        forms.append(Binary("*", Number(value // there), base))
    rest = divisor * value + rng.randrange(divisor) - there
    if rest >= 0:
        forms.append(Binary("/", Binary("+", base, Number(rest)), Number(divisor)))
    return rng.choice(forms)
