"""Sets the running statistics of batch normalisations in weights.safetensors to those of the images."""

import torch
from model import Model
from network import Network
from protocol import job
from safetensors.numpy import save_file
from torch import nn


def settled(model: Model, images: torch.Tensor) -> Model:
    """The model after a pass over some images."""
    network = Network(model).train()
    norms = {layer.name: step for layer, step in zip(model.layers, network.steps, strict=True)}
    norms = {name: step for name, step in norms.items() if isinstance(step, nn.BatchNorm2d)}
    for step in norms.values():
        step.momentum = None
    with torch.no_grad():
        network(images)
    found = {f"{name}.{part}": getattr(step, part).numpy() for name, step in norms.items() for part in STATISTICS}
    return Model(model.layers, model.tensors | found)


STATISTICS = ("running_mean", "running_var")


def main():
    asked = job()
    model = settled(asked.model(), torch.from_numpy(asked.images()))
    save_file(model.tensors, asked.folder / "weights.safetensors")


main()
