"""JAX, compiled as a whole, by the layout of images that is faster."""

import functools
import operator
import os

import numpy as np
from model import Layer, Model, group_count, pad
from protocol import Job, fastest, job, serve

# It has as many threads as it may use processors.
asked = job()
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.threads])

import jax
import jax.numpy as jnp
from jax import lax

STATISTICS = ("running_mean", "running_var")
ACTIVATIONS = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "silu": jax.nn.silu,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_swish": jax.nn.hard_swish,
}


class Network:
    """A graph of layers, of images laid out as `NCHW` or `NHWC`."""

    def __init__(self, model: Model, layout: str, trains: bool):
        self.model, self.layout, self.trains = model, layout, trains
        self.rows = layout.index("H")
        self.channel = layout.index("C")
        self.tensors = {name: jnp.asarray(self.laid_out(x)) for name, x in model.tensors.items()}

    def laid_out(self, x: np.ndarray) -> np.ndarray:
        """A kernel in the order that the layout likes."""
        return x.transpose(2, 3, 1, 0) if x.ndim == 4 and self.layout == "NHWC" else x

    def images(self, images: np.ndarray) -> np.ndarray:
        """Images [N, C, H, W] in the layout."""
        return images if self.layout == "NCHW" else np.ascontiguousarray(images.transpose(0, 2, 3, 1))

    def __call__(self, tensors: dict, images, key=None):
        """Results, and the batch's statistics by the names of those that follow them."""
        results, statistics = [], {}
        for number, layer in enumerate(self.model.layers):
            read = [results[place] for place in layer.reads] or [images]
            if layer.kind == "dropout" and self.trains:
                results.append(dropout(read[0], layer.args["p"], jax.random.fold_in(key, number)))
            elif layer.kind == "batchnorm":
                results.append(self.batchnorm(read[0], layer, tensors, statistics))
            else:
                results.append(self.layer(layer, tensors, read))
        return results[-1], statistics

    def layer(self, layer: Layer, tensors: dict, read: list):
        """What a layer makes of what it reads."""
        x, args = read[0], layer.args
        match layer.kind:
            case "input" | "identity" | "dropout":
                return x
            case "conv" | "depthwise":
                return self.convolution(x, tensors, layer.name, args, pad(layer))
            case "mlpconv":
                x = jax.nn.relu(self.convolution(x, tensors, f"{layer.name}.conv", args, pad(layer)))
                for index in range(1, len(args["channels"])):
                    name = f"{layer.name}.cccp{index}"
                    x = jax.nn.relu(self.convolution(x, tensors, name, {"stride": [1, 1]}, (0, 0)))
                return x
            case "fc":
                y = x.reshape(len(x), -1) @ tensors[f"{layer.name}.weight"].T
                return y + tensors.get(f"{layer.name}.bias", 0.0)
            case "maxpool":
                return self.windows(x, layer, -jnp.inf, lax.max)
            case "avgpool":
                return self.average(x, layer)
            case "gap":
                return x.mean((self.rows, self.rows + 1))
            case "leaky_relu":
                return jax.nn.leaky_relu(x, args["slope"])
            case "softmax":
                return jax.nn.softmax(x, axis=1)
            case "add":
                return functools.reduce(operator.add, read)
            case "concat":
                return jnp.concatenate(read, self.channel)
            case kind if kind in ACTIVATIONS:
                return ACTIVATIONS[kind](x)
        raise NotImplementedError(f"the comparison knows no `{layer.kind}` layers")

    def by_channel(self, x):
        """A vector of a number a channel, to go with maps."""
        return x.reshape([-1 if axis == self.channel else 1 for axis in range(4)])

    def convolution(self, x, tensors: dict, name: str, args: dict, padding: tuple[int, int]):
        """A convolution and its bias."""
        weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
        kernel = "HWIO" if self.layout == "NHWC" else "OIHW"
        y = lax.conv_general_dilated(
            x,
            weight,
            args["stride"],
            [(side, side) for side in padding],
            rhs_dilation=args.get("dilation"),
            dimension_numbers=(self.layout, kernel, self.layout),
            feature_group_count=group_count(args, weight.shape[kernel.index("O")]),
        )
        return y if bias is None else y + self.by_channel(bias)

    def windows(self, x, layer: Layer, start: float, reduce):
        """What a function makes of each window."""
        spans = {"size": [1] * 4, "stride": [1] * 4, "pad": [(0, 0)] * 4}
        for axis in (0, 1):
            at, side = self.rows + axis, pad(layer)[axis]
            size, stride = layer.args["kernel"][axis], layer.args["stride"][axis]
            # A window that is rounded up to reaches beyond the padding.
            end = (layer.output[1 + axis] - 1) * stride + size - x.shape[at] - side
            spans["size"][at], spans["stride"][at], spans["pad"][at] = size, stride, (side, max(end, 0))
        return lax.reduce_window(x, start, reduce, spans["size"], spans["stride"], spans["pad"])

    def average(self, x, layer: Layer):
        """Means of windows, over real pixels."""
        if layer.args.get("count"):
            raise NotImplementedError("the comparison knows no averages over padding in JAX")
        ones = jnp.ones_like(x[:1])
        return self.windows(x, layer, 0.0, lax.add) / self.windows(ones, layer, 0.0, lax.add)

    def batchnorm(self, x, layer: Layer, tensors: dict, statistics: dict):
        """By the batch's statistics in training, which are noted, or else by the running ones."""
        scale, shift, mean, variance = (tensors[f"{layer.name}.{part}"] for part in ("weight", "bias", *STATISTICS))
        if self.trains:
            axes = (0, self.rows, self.rows + 1)
            mean, variance = x.mean(axes), x.var(axes)
            momentum = layer.args["momentum"]
            for part, found in zip(STATISTICS, (mean, variance), strict=True):
                statistics[f"{layer.name}.{part}"] = (momentum, lax.stop_gradient(found))
        scale = scale * lax.rsqrt(variance + layer.args["eps"])
        return x * self.by_channel(scale) + self.by_channel(shift - mean * scale)


def dropout(x, p: float, key):
    """Some elements, larger."""
    return jnp.where(jax.random.bernoulli(key, 1 - p, x.shape), x / (1 - p), 0.0) if p else x


class Runner:
    """A network and what it is fed."""

    def __init__(self, asked: Job, layout: str):
        self.asked = asked
        self.network = Network(asked.model(), layout, asked.trains)
        self.images = jnp.asarray(self.network.images(asked.images()))
        self.labels = jnp.asarray(asked.labels())
        tensors = self.network.tensors
        self.fixed = {name: x for name, x in tensors.items() if name.endswith(STATISTICS)}
        self.trained = {name: x for name, x in tensors.items() if name not in self.fixed}
        self.moments = {name: jnp.zeros_like(x) for name, x in self.trained.items()}
        self.number = 0
        self.forward = jax.jit(lambda tensors, images: self.network(tensors, images)[0])
        self.step = jax.jit(self.stepped, donate_argnums=(0, 1, 2))

    def loss(self, trained: dict, fixed: dict, number):
        """The cross-entropy, and the batch's statistics."""
        scores, statistics = self.network(trained | fixed, self.images, jax.random.key(number))
        right = jnp.take_along_axis(jax.nn.log_softmax(scores), self.labels[:, None], 1)
        return -right.mean(), statistics

    def stepped(self, trained: dict, moments: dict, fixed: dict, number):
        """A step of SGD."""
        (loss, statistics), gradients = jax.value_and_grad(self.loss, has_aux=True)(trained, fixed, number)
        moments = {name: 0.9 * x + gradients[name] + 1e-4 * trained[name] for name, x in moments.items()}
        trained = {name: x - self.asked.rate * moments[name] for name, x in trained.items()}
        fixed = fixed | {name: fixed[name] + part * (x - fixed[name]) for name, (part, x) in statistics.items()}
        return trained, moments, fixed, loss

    def __call__(self):
        if not self.asked.trains:
            return np.asarray(self.forward(self.trained | self.fixed, self.images))
        self.number += 1
        self.trained, self.moments, self.fixed, loss = self.step(self.trained, self.moments, self.fixed, self.number)
        return float(loss)

    def check(self) -> np.ndarray:
        """What the systems must agree on."""
        return np.array([self() for _ in range(5)]) if self.asked.trains else self()


def main():
    layouts = ["NCHW"] if asked.mode == "losses" else ["NCHW", "NHWC"]
    runner = fastest(layouts, lambda layout: Runner(asked, layout))
    serve(f"JAX {jax.__version__}", runner, runner.check)


main()
