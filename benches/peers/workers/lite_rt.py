"""LiteRT, by XNNPACK (its default)."""

from importlib.metadata import version

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from protocol import job, serve


def main():
    asked = job()
    interpreter = Interpreter(str(asked.folder / f"model-{asked.batch}.tflite"), num_threads=asked.threads)
    interpreter.allocate_tensors()
    source, target = (x[0]["index"] for x in (interpreter.get_input_details(), interpreter.get_output_details()))
    images = np.ascontiguousarray(asked.images().transpose(0, 2, 3, 1))

    def call() -> np.ndarray:
        interpreter.set_tensor(source, images)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    for _ in range(3):
        call()
    serve(f"LiteRT {version('ai-edge-litert')}", call, call)


main()
