"""Writes the network as ONNX for systems that read it: model-BATCH.onnx."""

import torch
from network import Network
from protocol import job


def main():
    asked = job()
    model = Network(asked.model()).eval()
    images = torch.from_numpy(asked.images())
    torch.onnx.export(model, (images,), asked.onnx, dynamo=True, external_data=False)


main()
