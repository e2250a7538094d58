"""ncnn in float32: it takes one image at a time."""

import subprocess
from pathlib import Path

import ncnn
import numpy as np
import pnnx
from protocol import Job, job, serve


def converted(asked: Job) -> tuple[str, str]:
    """The network as ncnn reads it: its layers and its weights."""
    # A name that pnnx takes over as it is.
    stem = f"ncnn_{asked.batch}_{asked.mode}_{asked.threads}"
    source = asked.folder / f"{stem}.onnx"
    source.write_bytes((asked.folder / "model-1.onnx").read_bytes())
    program = Path(pnnx.EXEC_PATH)
    shape = ",".join(map(str, asked.images()[:1].shape))
    words = [f"inputshape=[{shape}]", "fp16=0", "device=cpu"]
    done = subprocess.run([program, source.name, *words], cwd=asked.folder, capture_output=True, text=True)
    files = (asked.folder / f"{stem}.ncnn.param", asked.folder / f"{stem}.ncnn.bin")
    if not all(file.exists() for file in files):
        raise RuntimeError(f"pnnx: {(done.stderr or done.stdout).strip()[-200:]}")
    return str(files[0]), str(files[1])


def load(asked: Job) -> ncnn.Net:
    """The network."""
    layers, weights = converted(asked)
    net = ncnn.Net()
    options = net.opt
    options.num_threads = asked.threads
    options.use_winograd_convolution = True
    options.use_sgemm_convolution = True
    options.use_packing_layout = True
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage"):
        setattr(options, name, False)
    if net.load_param(layers) != 0 or net.load_model(weights) != 0:
        raise RuntimeError("ncnn cannot load what pnnx made")
    return net


def main():
    asked = job()
    net = load(asked)
    # A matrix is a view of an array's numbers, and does not keep them alive.
    images = [ncnn.Mat(image).clone() for image in asked.images()]

    def one(image: ncnn.Mat) -> np.ndarray:
        with net.create_extractor() as extractor:
            extractor.input(net.input_names()[0], image)
            return np.array(extractor.extract(net.output_names()[0])[1])

    def call() -> np.ndarray:
        return np.stack([one(image) for image in images])

    for _ in range(3):
        call()
    serve(f"ncnn {ncnn.__version__}", call, call)


main()
