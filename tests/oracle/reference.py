"""Any model in PyTorch, from the resolved layers of `nin check --json` and nothing else: a graph, by what each reads.

Every ReLU and every maximum is a *switch*: it decides which way a gradient goes. The decisions of a run can be taken
down and given to another run, so that two precisions can be compared; and one decision can be turned round.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from facts import TRAINED, Layer, places

Tensors = dict[str, torch.Tensor]

SHAKE = 1e-6
"""Some of float32's rounding errors."""

ROUNDINGS = 4
"""A switch is close if it is nearer than this many times what rounding to float32 moved the tensor it is in."""

NUDGE = 1e-9
"""How far beyond zero a ReLU's operand is put that is turned round, of the largest in its tensor."""

WINOGRAD_ROUNDINGS = 16
"""The same where convolutions may go by Winograd's algorithm, which rounds more."""


@dataclass
class Switch:
    """One ReLU or max pool of a run; a `gmp` is a pool whose window is the map."""

    layer: Layer | None
    """The pool, or `None` of a ReLU."""
    operand: torch.Tensor
    decision: torch.Tensor
    """Whether the operand is let through, or the winners' places in their planes."""


@dataclass(frozen=True)
class Flip:
    """Another way a close switch may go."""

    switch: int
    place: tuple[int, ...]
    decision: int
    along: tuple[Flip, ...] = ()
    """Other windows of the same pool that the same pixel wins with it."""


@dataclass
class Convolution:
    """One convolution of a run."""

    name: str
    """What its weights' names begin with."""
    input: torch.Tensor
    kernel: torch.Tensor
    bias: torch.Tensor | None
    stride: list[int]
    pad: list[int]
    """Above, left, below, right."""
    dilation: list[int]
    groups: int
    output: torch.Tensor


@dataclass
class Run:
    """What a model makes of a batch."""

    scores: torch.Tensor
    """`[N, ...]`, before a softmax."""
    output: torch.Tensor
    switches: list[Switch]
    normalised: dict[str, torch.Tensor]
    """What each `batchnorm` reads, by its name."""
    convolutions: list[Convolution]
    results: list[torch.Tensor]
    """What each layer leaves."""


def forward(
    layers: list[Layer],
    names: list[str],
    weights: Tensors,
    images: torch.Tensor,
    *,
    training: bool = False,
    decisions: list[torch.Tensor] | None = None,
    flips: Sequence[Flip] = (),
    shake: torch.Generator | None = None,
) -> Run:
    """Runs a model without dropout. Training means the batch's statistics; inference the running ones.

    `names` are the layers' names, which begin those of their weights; `decisions` those of another run's switches, all
    of them; `flips` some that go another way, and what comes after them decides for itself. To shake a run is to move
    whatever it rounds by about `SHAKE`, forward and backward.
    """
    switches: list[Switch] = []
    normalised: dict[str, torch.Tensor] = {}
    convolutions: list[Convolution] = []

    def decide(layer: Layer | None, operand: torch.Tensor, natural) -> torch.Tensor:
        index = len(switches)
        decision = natural() if decisions is None else decisions[index]
        if turned := [one for flip in flips for one in (flip, *flip.along) if one.switch == index and layer]:
            decision = decision.clone()
            for flip in turned:
                decision[flip.place] = flip.decision
        switches.append(Switch(layer, operand.detach(), decision))
        return decision

    def nudged(x: torch.Tensor) -> torch.Tensor:
        """The operand of the next ReLU, a little beyond zero where that is turned round: so are the zeros made of it,
        and the ties with it."""
        if turned := [flip for flip in flips if flip.switch == len(switches)]:
            shift = torch.zeros_like(x)
            for flip in turned:
                beyond = NUDGE if flip.decision else -NUDGE
                shift[flip.place] = beyond * x.detach().abs().max() - x.detach()[flip.place]
            x = x + shift
        return x

    def conv(x: torch.Tensor, name: str, args: dict) -> torch.Tensor:
        stride, pad, dilation = args["stride"], args["pad"], args.get("dilation", [1, 1])
        kernel, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
        groups = x.shape[1] // kernel.shape[1]
        if pad[:2] == pad[2:]:
            output = F.conv2d(x, kernel, bias, stride, pad[:2], dilation, groups)
        else:
            output = F.conv2d(_padded(x, pad, 0.0), kernel, bias, stride, 0, dilation, groups)
        convolutions.append(Convolution(name, x, kernel, bias, stride, pad, dilation, groups, output))
        return output

    def relu(x: torch.Tensor, slope: float | torch.Tensor = 0.0) -> torch.Tensor:
        x = nudged(x)
        return torch.where(decide(None, x, lambda: x > 0), x, slope * x)

    def relu6(x: torch.Tensor) -> torch.Tensor:
        # Two switches: neither lets a gradient through where it is met exactly.
        return 6 - relu(6 - relu(x))

    def rounded(x: torch.Tensor) -> torch.Tensor:
        if shake is None:
            return x
        if x.requires_grad:
            x.register_hook(lambda gradient: _shaken(gradient, shake))
        return _shaken(x, shake)

    results: list[torch.Tensor] = []
    scores = None
    for layer, name in zip(layers, names, strict=True):
        args = layer.args
        read = [results[index] for index in layer.inputs]
        x = read[0] if read else images
        match layer.kind:
            case "input" | "dropout":
                pass
            case "conv" | "depthwise":
                x = rounded(conv(x, name, args))
            case "mlpconv":
                x = relu(rounded(conv(x, f"{name}.conv", args)))
                for index in range(1, len(args["channels"])):
                    x = relu(rounded(conv(x, f"{name}.cccp{index}", {"stride": [1, 1], "pad": [0] * 4})))
            case "maxpool":
                places = decide(layer, x, lambda x=x, layer=layer: winners(x, layer))
                x = x.flatten(2).gather(2, places.flatten(2)).view(places.shape)
            case "gmp":
                whole = _whole(x)
                x = x.flatten(2).gather(2, decide(whole, x, lambda x=x, whole=whole: winners(x, whole)).flatten(2))[..., 0]
            case "avgpool":
                x = rounded(_mean(x, args))
            case "relu":
                x = relu(x)
            case "leaky_relu":
                x = rounded(relu(x, args["slope"]))
            case "elu":
                # Below 0 alone: what is above must not overflow, not even on the way to a gradient of zero.
                x = nudged(x)
                positive = decide(None, x, lambda x=x: x > 0)
                x = rounded(torch.where(positive, x, args["alpha"] * torch.expm1(torch.where(positive, 0.0, x))))
            case "relu6":
                x = relu6(x)
            case "sigmoid":
                x = rounded(torch.sigmoid(x))
            case "tanh":
                x = rounded(torch.tanh(x))
            case "silu":
                x = rounded(F.silu(x))
            case "gelu":
                x = rounded(F.gelu(x))
            case "hard_sigmoid":
                x = rounded(relu6(x + 3) / 6)
            case "hard_swish":
                x = rounded(x * relu6(x + 3) / 6)
            case "prelu":
                x = rounded(relu(x, weights[f"{name}.weight"].view(-1, *(1 for _ in x.shape[2:]))))
            case "scale":
                x = rounded(x * args["by"])
            case "batchnorm":
                normalised[name] = x.detach()
                parts = groups(len(x), args["ghost"]) if training else [slice(None)]
                step = rounded if shake else None
                x = torch.cat([_batchnorm(x[part], weights, name, args["eps"], training, step) for part in parts])
                x = rounded(x)
            case "lrn":
                x = rounded(F.local_response_norm(x, args["size"], args["alpha"], args["beta"], args["k"]))
            case "gap":
                x = rounded(x.mean((2, 3)))
            case "fc":
                x = rounded(F.linear(x.flatten(1), weights[f"{name}.weight"], weights.get(f"{name}.bias")))
            case "softmax":
                scores, x = x, x.softmax(1)
            case "add":
                # In the order of the text.
                x = rounded(functools.reduce(operator.add, read))
            case "mul":
                x = rounded(functools.reduce(operator.mul, _scaling(read)))
            case "concat":
                x = torch.cat(read, 1)
            case kind:
                raise ValueError(f"the oracle knows no layer `{kind}`")
        results.append(x)
    return Run(x if scores is None else scores, x, switches, normalised, convolutions, results)


def _shaken(x: torch.Tensor, shake: torch.Generator) -> torch.Tensor:
    return x * (1 + SHAKE * torch.randn(x.shape, generator=shake, dtype=x.dtype))


def winners(x: torch.Tensor, pool: Layer) -> torch.Tensor:
    """The places in their planes of what a max pool takes."""
    args = pool.args
    if args["pad"][:2] == args["pad"][2:]:
        return F.max_pool2d(x, **_window(args), return_indices=True)[1]
    padded, size = _padded(x, args["pad"], -torch.inf), places(x.shape[2:], args)
    taken = F.max_pool2d(padded, **_window(args | {"pad": [0] * 4}), return_indices=True)[1]
    taken = taken[:, :, : size[0], : size[1]]
    top, left, *_ = args["pad"]
    width = padded.shape[3]
    return (taken // width - top) * x.shape[3] + taken % width - left


def _padded(x: torch.Tensor, pad: list[int], value: float) -> torch.Tensor:
    """Maps with a border of one number."""
    top, left, bottom, right = pad
    return F.pad(x, (left, right, top, bottom), value=value)


def _mean(x: torch.Tensor, args: dict) -> torch.Tensor:
    """An average pool: of real pixels, or of padding too."""
    if args["pad"][:2] == args["pad"][2:]:
        return F.avg_pool2d(x, **_window(args), count_include_pad=bool(args["count"]))
    size = places(x.shape[2:], args)

    def sums(x: torch.Tensor, border: float) -> torch.Tensor:
        window = _window(args | {"pad": [0] * 4})
        whole = F.avg_pool2d(_padded(x, args["pad"], border), **window, divisor_override=1)
        return whole[:, :, : size[0], : size[1]]

    return sums(x, 0.0) / sums(torch.ones_like(x[:1, :1]), float(args["count"]))


def _whole(x: torch.Tensor) -> Layer:
    """The max pool whose window is all of a map."""
    kernel = [*x.shape[2:]]
    return Layer("maxpool", {"kernel": kernel, "stride": [1, 1], "pad": [0] * 4, "ceil": 0})


def _window(args: dict) -> dict:
    """A pool's window as PyTorch takes it."""
    window = {"kernel_size": args["kernel"], "stride": args["stride"], "padding": args["pad"][:2]}
    return window | {"ceil_mode": bool(args["ceil"])}


def _scaling(operands: list[torch.Tensor]) -> list[torch.Tensor]:
    """The operands of a `mul`, vectors as maps of one pixel where there is a map."""
    if all(x.dim() == 2 for x in operands):
        return operands
    return [x if x.dim() == 4 else x[:, :, None, None] for x in operands]


def groups(images: int, ghost: int) -> list[slice]:
    """The images of each group, of so many; a last group of fewer than half as many joins the one before it."""
    if ghost == 0:
        return [slice(0, images)]
    starts = [*range(0, images, ghost)]
    if len(starts) > 1 and 2 * (images - starts[-1]) < ghost:
        starts.pop()
    return [slice(*ends) for ends in zip(starts, [*starts[1:], images], strict=True)]


def _batchnorm(
    x: torch.Tensor,
    weights: Tensors,
    name: str,
    eps: float,
    training: bool,
    rounded: Callable[[torch.Tensor], torch.Tensor] | None,
) -> torch.Tensor:
    scale, shift, mean, variance = (
        weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    if training and rounded is not None:
        # Step by step, for what is left where these steps cancel each other.
        channels = (1, -1, *(1 for _ in x.shape[2:]))
        over = [0, *range(2, x.dim())]
        centred = x - rounded(x.mean(over, keepdim=True))
        variance = rounded(rounded(centred).square().mean(over, keepdim=True))
        normal = rounded(centred) * (variance + eps).rsqrt()
        return rounded(normal) * scale.view(channels) + shift.view(channels)
    running = (None, None) if training else (mean, variance)
    # `torch.batch_norm`, unlike the function of `torch.nn`, takes a single pixel, too.
    return torch.batch_norm(x, scale, shift, *running, training, 0.0, eps, False)


@torch.no_grad()
def update_statistics(layers: list[Layer], names: list[str], weights: Tensors, run: Run) -> None:
    """What a training step leaves in the running statistics."""
    for layer, name in zip(layers, names, strict=True):
        if layer.kind == "batchnorm":
            whole = run.normalised[name]
            for group in groups(len(whole), layer.args["ghost"]):
                x = whole[group].transpose(0, 1).flatten(1)
                if x.shape[1] == 1:
                    continue
                for part, batch in (("running_mean", x.mean(1)), ("running_var", x.var(1))):
                    weights[f"{name}.{part}"].lerp_(batch, layer.args["momentum"])


def trained(weights: Tensors) -> Tensors:
    """Those weights that have gradients."""
    return {name: x for name, x in weights.items() if name.rsplit(".", 1)[-1] in TRAINED}


@dataclass
class Step:
    """Loss and gradients of a batch."""

    loss: float
    gradients: Tensors
    switches: list[Switch]


def differentiate(
    layers: list[Layer],
    names: list[str],
    weights: Tensors,
    images: torch.Tensor,
    labels: torch.Tensor,
    decisions: list[torch.Tensor] | None = None,
    flips: Sequence[Flip] = (),
    shake: torch.Generator | None = None,
) -> Step:
    """The mean cross entropy of a training step without dropout, and its gradient for every trained weight."""
    leaves = {name: x.detach().clone().requires_grad_() for name, x in trained(weights).items()}
    run = forward(layers, names, weights | leaves, images, training=True, decisions=decisions, flips=flips, shake=shake)
    loss = F.cross_entropy(run.scores, labels)
    found = torch.autograd.grad(run.scores, list(leaves.values()), _slopes(run.scores, labels)) if leaves else ()
    return Step(loss.item(), dict(zip(leaves, found, strict=True)), run.switches)


def _slopes(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The gradient of the mean cross entropy. An image's own class has what balances the others: PyTorch has its
    probability less one there, of which nothing is left where the model is sure."""
    own = labels[:, None]
    others = scores.detach().softmax(1).scatter(1, own, 0.0)
    return others.scatter(1, own, -others.sum(1, keepdim=True)) / len(labels)


def close_switches(wide: list[Switch], narrow: list[Switch], roundings: int) -> list[Flip]:
    """The switches of a float64 run that float32 may take another way, from how far off a float32 run with the same
    decisions is.

    Exact zeros and ties do not count: they are what an earlier ReLU or pool left of one and the same number.
    """
    flips = []
    for index, (switch, other) in enumerate(zip(wide, narrow, strict=True)):
        x = switch.operand
        if x.numel() == 0:
            continue
        error = (x - other.operand.double()).abs().max().item()
        band = max(roundings * error, 1e-7 * x.abs().max().item())
        if switch.layer is None:
            close = (x != 0) & (x.abs() < band)
            for place in close.nonzero().tolist():
                flips.append(Flip(index, tuple(place), int(not switch.decision[tuple(place)])))
        else:
            flips += _close_winners(index, switch, band)
    return flips


def _close_winners(index: int, switch: Switch, band: float) -> list[Flip]:
    """Pixels that nearly win a window of a pool: from one and the same pixel they win all windows that see both."""
    x, args = switch.operand, switch.layer.args
    kernel, stride, (top, left, *_) = args["kernel"], args["stride"], args["pad"]
    (h, w), (rows, columns) = x.shape[2:], switch.decision.shape[2:]
    best = x.flatten(2).gather(2, switch.decision.flatten(2)).view(switch.decision.shape)
    won: dict[tuple[int, ...], list[Flip]] = {}
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            # The pixel that stands at tap (i, j) of each window, where there is one.
            row = torch.arange(rows) * stride[0] - top + i
            column = torch.arange(columns) * stride[1] - left + j
            real = ((row >= 0) & (row < h))[:, None] & ((column >= 0) & (column < w))
            place = row.clamp(0, h - 1)[:, None] * w + column.clamp(0, w - 1)
            lead = best - x.flatten(2)[:, :, place.flatten()].view(best.shape)
            close = real & (lead > 0) & (lead < band)
            for at in close.nonzero().tolist():
                flip = Flip(index, tuple(at), int(place[at[2], at[3]]))
                pixels = (*at[:2], int(switch.decision[flip.place]), flip.decision)
                won.setdefault(pixels, []).append(flip)
    return [replace(first, along=tuple(others)) for first, *others in won.values()]
