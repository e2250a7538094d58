"""MNN in float32, by its module interface."""

import subprocess
import sys
from importlib.metadata import version

import numpy as np
from protocol import Job, job, serve


def converted(asked: Job) -> str:
    """The network as MNN reads it."""
    file = str(asked.folder / f"model-{asked.batch}-{asked.mode}-{asked.threads}.mnn")
    words = ["-f", "ONNX", "--modelFile", asked.onnx, "--MNNModel", file, "--bizCode", "nin"]
    command = "from MNN.tools.mnnconvert import main; main()"
    done = subprocess.run([sys.executable, "-c", command, *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"mnnconvert: {(done.stderr or done.stdout).strip()[-200:]}")
    return file


def main():
    asked = job()
    file = converted(asked)
    # It prints when it is imported: not before the protocol has standard output.
    from MNN import expr, nn

    # Only "high" keeps to float32 throughout.
    settings = {"backend": "CPU", "precision": "high", "power": "high", "numThread": asked.threads}
    runtime = nn.create_runtime_manager((settings,))
    module = nn.load_module_from_file(file, [], [], runtime_manager=runtime, shape_mutable=False)
    images = asked.images()
    held = expr.placeholder(list(images.shape), expr.NCHW, expr.float)

    def call() -> np.ndarray:
        held.write(images)
        return module.forward([held])[0].read()

    for _ in range(3):
        call()
    serve(f"MNN {version('MNN')}", call, call)


main()
