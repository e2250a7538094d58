"""PyTorch: variants `eager` and `compile`, each by the layout of images that is faster."""

import numpy as np
import torch
import torch._inductor.config
import torch.nn.functional as F
from network import Network
from protocol import Job, fastest, job, serve

# Planes of channels, and channels of pixels.
LAYOUTS = [torch.channels_last, torch.contiguous_format]


class Runner:
    """A network, what it is fed, and its optimiser."""

    def __init__(self, asked: Job, layout: torch.memory_format):
        self.asked = asked
        model = Network(asked.model()).to(memory_format=layout).train(asked.trains)
        self.images = torch.from_numpy(asked.images()).contiguous(memory_format=layout)
        self.labels = torch.from_numpy(asked.labels())
        self.run = torch.compile(model) if asked.variant == "compile" else model
        self.optimizer = torch.optim.SGD(model.parameters(), asked.rate, momentum=0.9, weight_decay=1e-4, fused=True)

    def __call__(self):
        return self.step() if self.asked.trains else self.forward()

    @torch.no_grad()
    def forward(self):
        return self.run(self.images)

    def step(self) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.run(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def check(self) -> np.ndarray:
        """What the systems must agree on."""
        if self.asked.trains:
            return np.array([self.step() for _ in range(5)])
        return self.forward().numpy()


def main():
    asked = job()
    torch.set_num_threads(asked.threads)
    torch.set_num_interop_threads(1)
    # The weights of a network that is not trained are constants, laid out as convolutions like them.
    torch._inductor.config.freezing = not asked.trains
    layouts = LAYOUTS[:1] if asked.mode == "losses" else LAYOUTS
    runner = fastest(layouts, lambda layout: Runner(asked, layout))
    serve(f"PyTorch {torch.__version__}", runner, runner.check)


main()
