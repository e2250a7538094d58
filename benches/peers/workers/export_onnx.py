"""Writes the network as ONNX for ONNX Runtime and OpenVINO: model-BATCH.onnx."""

import torch
from network import Network
from protocol import job


def main():
    asked = job()
    weights = asked.folder / "weights.safetensors"
    model = Network(asked.layers(), weights, probabilities=True).eval()
    images = torch.from_numpy(asked.images())
    target = asked.folder / f"model-{asked.batch}.onnx"
    torch.onnx.export(model, (images,), target, dynamo=True, external_data=False)


main()
