"""PyTorch, channels_last: variants `eager` and `compile`."""

import numpy as np
import torch
import torch.nn.functional as F
from network import Network
from protocol import job, serve


def main():
    asked = job()
    torch.set_num_threads(asked.threads)
    torch.set_num_interop_threads(1)
    weights = asked.folder / "weights.safetensors"
    model = Network(asked.layers(), weights, probabilities=not asked.trains)
    model = model.to(memory_format=torch.channels_last).train(asked.trains)
    images = torch.from_numpy(asked.images()).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(asked.labels())
    run = torch.compile(model) if asked.variant == "compile" else model
    # Too small a rate to change what is computed, but where the losses are compared.
    rate = 0.01 if asked.mode == "losses" else 1e-6
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=1e-4, fused=True)

    def forward():
        with torch.inference_mode():
            return run(images)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(run(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    call = step if asked.trains else forward
    if asked.mode != "losses":
        for _ in range(3):
            call()

    def check() -> np.ndarray:
        if asked.trains:
            return np.array([step() for _ in range(5)])
        return forward().numpy()

    serve(f"PyTorch {torch.__version__}", call, check)


main()
