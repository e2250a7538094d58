"""Any model in PyTorch, from the resolved layers of `nin check --json` and nothing else.

Every ReLU and every maximum is a *switch*: it decides which way a gradient goes. The decisions of a run can be taken
down and given to another run, so that two precisions can be compared, and so that one decision can be turned round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from facts import TRAINED, Layer

Tensors = dict[str, torch.Tensor]

SHAKE = 1e-6
"""Some of float32's rounding errors."""

ROUNDINGS = 4
"""A switch is close if it is nearer than this many times what rounding to float32 moved the tensor it is in."""

WINOGRAD_ROUNDINGS = 16
"""The same where convolutions may go by Winograd's algorithm, which rounds more."""


@dataclass
class Switch:
    """One ReLU or max pool of a run."""

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
    """Maxima that go with it."""


@dataclass
class Convolution:
    """One convolution of a run."""

    name: str
    """What its weights' names begin with."""
    input: torch.Tensor
    kernel: torch.Tensor
    bias: torch.Tensor | None
    stride: int
    pad: int
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


def forward(
    layers: list[Layer],
    names: list[str],
    weights: Tensors,
    images: torch.Tensor,
    *,
    training: bool = False,
    decisions: list[torch.Tensor] | None = None,
    shake: torch.Generator | None = None,
) -> Run:
    """Runs a model without dropout. Training means the batch's statistics; inference the running ones.

    `names` are the layers' names, which begin those of their weights; `decisions` those of another run's switches.
    To shake a run is to move whatever it rounds by about `SHAKE`, forward and backward.
    """
    switches: list[Switch] = []
    normalised: dict[str, torch.Tensor] = {}
    convolutions: list[Convolution] = []

    def decide(layer: Layer | None, operand: torch.Tensor, natural) -> torch.Tensor:
        given = None if decisions is None else decisions[len(switches)]
        switches.append(Switch(layer, operand.detach(), natural() if given is None else given))
        return switches[-1].decision

    def conv(x: torch.Tensor, name: str, stride: int, pad: int) -> torch.Tensor:
        kernel, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
        output = F.conv2d(x, kernel, bias, stride, pad)
        convolutions.append(Convolution(name, x, kernel, bias, stride, pad, output))
        return output

    def relu(x: torch.Tensor, slope: float = 0.0) -> torch.Tensor:
        return torch.where(decide(None, x, lambda: x > 0), x, slope * x)

    def rounded(x: torch.Tensor) -> torch.Tensor:
        if shake is None:
            return x
        if x.requires_grad:
            x.register_hook(lambda gradient: _shaken(gradient, shake))
        return _shaken(x, shake)

    x = images
    scores = None
    for layer, name in zip(layers, names, strict=True):
        args = layer.args
        match layer.kind:
            case "input" | "dropout":
                pass
            case "conv":
                x = rounded(conv(x, name, args["stride"], args["pad"]))
            case "mlpconv":
                x = relu(rounded(conv(x, f"{name}.conv", args["stride"], args["pad"])))
                for index in range(1, len(args["channels"])):
                    x = relu(rounded(conv(x, f"{name}.cccp{index}", 1, 0)))
            case "maxpool":
                places = decide(layer, x, lambda x=x, layer=layer: winners(x, layer))
                x = x.flatten(2).gather(2, places.flatten(2)).view(places.shape)
            case "avgpool":
                window = (args["kernel"], args["stride"], args["pad"])
                x = rounded(F.avg_pool2d(x, *window, ceil_mode=bool(args["ceil"]), count_include_pad=False))
            case "relu":
                x = relu(x)
            case "leaky_relu":
                x = rounded(relu(x, args["slope"]))
            case "elu":
                # Below 0 alone: what is above must not overflow, not even on the way to a gradient of zero.
                positive = decide(None, x, lambda x=x: x > 0)
                x = rounded(torch.where(positive, x, args["alpha"] * torch.expm1(torch.where(positive, 0.0, x))))
            case "batchnorm":
                normalised[name] = x.detach()
                x = rounded(_batchnorm(x, weights, name, args["eps"], training, rounded if shake else None))
            case "gap":
                x = rounded(x.mean((2, 3)))
            case "fc":
                x = rounded(F.linear(x.flatten(1), weights[f"{name}.weight"], weights.get(f"{name}.bias")))
            case "softmax":
                scores, x = x, x.softmax(1)
            case kind:
                raise ValueError(f"the oracle knows no layer `{kind}`")
    return Run(x if scores is None else scores, x, switches, normalised, convolutions)


def _shaken(x: torch.Tensor, shake: torch.Generator) -> torch.Tensor:
    return x * (1 + SHAKE * torch.randn(x.shape, generator=shake, dtype=x.dtype))


def winners(x: torch.Tensor, pool: Layer) -> torch.Tensor:
    """The places in their planes of what a max pool takes."""
    args = pool.args
    window = {"kernel_size": args["kernel"], "stride": args["stride"], "padding": args["pad"]}
    return F.max_pool2d(x, **window, ceil_mode=bool(args["ceil"]), return_indices=True)[1]


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
            x = run.normalised[name].transpose(0, 1).flatten(1)
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
    shake: torch.Generator | None = None,
) -> Step:
    """The mean cross entropy of a training step without dropout, and its gradient for every trained weight."""
    leaves = {name: x.detach().clone().requires_grad_() for name, x in trained(weights).items()}
    run = forward(layers, names, weights | leaves, images, training=True, decisions=decisions, shake=shake)
    loss = F.cross_entropy(run.scores, labels)
    found = torch.autograd.grad(loss, list(leaves.values())) if leaves else ()
    return Step(loss.item(), dict(zip(leaves, found, strict=True)), run.switches)


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
                on = not switch.decision[tuple(place)]
                pool = wide[index + 1] if on and index + 1 < len(wide) else None
                along = _won(index + 1, pool, tuple(place)) if pool and pool.operand.shape == x.shape else ()
                flips.append(Flip(index, tuple(place), int(on), along))
        else:
            flips += _close_winners(index, switch, band)
    return flips


def _won(index: int, pool: Switch, place: tuple[int, ...]) -> tuple[Flip, ...]:
    """The windows of zeros alone, if this is a max pool, in which a pixel wins once its ReLU lets it through."""
    if pool.layer is None:
        return ()
    args = pool.layer.args
    image, channel, *pixel = place
    width = pool.operand.shape[3]

    def windows(at: int, count: int) -> list[int]:
        return [i for i in range(count) if 0 <= at - (i * args["stride"] - args["pad"]) < args["kernel"]]

    rows, columns = (windows(at, count) for at, count in zip(pixel, pool.decision.shape[2:], strict=True))
    won = [(image, channel, row, column) for row in rows for column in columns]
    plane = pool.operand[image, channel].flatten()
    return tuple(Flip(index, at, pixel[0] * width + pixel[1]) for at in won if plane[pool.decision[at]] == 0)


def _close_winners(index: int, switch: Switch, band: float) -> list[Flip]:
    """Pixels that nearly win a window of a pool: from one and the same pixel they win all windows that see both."""
    x, args = switch.operand, switch.layer.args
    kernel, stride, pad = args["kernel"], args["stride"], args["pad"]
    (h, w), (rows, columns) = x.shape[2:], switch.decision.shape[2:]
    best = x.flatten(2).gather(2, switch.decision.flatten(2)).view(switch.decision.shape)
    won: dict[tuple[int, ...], list[Flip]] = {}
    for i in range(kernel):
        for j in range(kernel):
            # The pixel that stands at tap (i, j) of each window, where there is one.
            row = torch.arange(rows) * stride - pad + i
            column = torch.arange(columns) * stride - pad + j
            real = ((row >= 0) & (row < h))[:, None] & ((column >= 0) & (column < w))
            place = row.clamp(0, h - 1)[:, None] * w + column.clamp(0, w - 1)
            lead = best - x.flatten(2)[:, :, place.flatten()].view(best.shape)
            close = real & (lead > 0) & (lead < band)
            for at in close.nonzero().tolist():
                flip = Flip(index, tuple(at), int(place[at[2], at[3]]))
                pixels = (*at[:2], int(switch.decision[flip.place]), flip.decision)
                won.setdefault(pixels, []).append(flip)
    return [replace(first, along=tuple(others)) for first, *others in won.values()]


def flipped(switches: list[Switch], flips: list[Flip]) -> list[torch.Tensor]:
    """The decisions of a run with some turned round."""
    decisions = [switch.decision for switch in switches]
    for flip in [one for flip in flips for one in (flip, *flip.along)]:
        if decisions[flip.switch] is switches[flip.switch].decision:
            decisions[flip.switch] = decisions[flip.switch].clone()
        decisions[flip.switch][flip.place] = flip.decision
    return decisions
