"""Writes the network as LiteRT reads it, with images whose channels are last: model-BATCH.tflite."""

import litert_torch
import torch
from network import Network
from protocol import job


def main():
    asked = job()
    images = torch.from_numpy(asked.images())
    model = litert_torch.to_channel_last_io(Network(asked.model()).eval(), args=[0])
    made = litert_torch.convert(model, (images.permute(0, 2, 3, 1).contiguous(),))
    made.export(str(asked.folder / f"model-{asked.batch}.tflite"))


main()
