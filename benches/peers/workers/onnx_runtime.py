"""ONNX Runtime, all graph optimisations (its default)."""

import onnxruntime
from protocol import job, serve


def main():
    asked = job()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = asked.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(asked.onnx, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: asked.images()}

    def call():
        return session.run(None, feed)[0]

    for _ in range(3):
        call()
    serve(f"ONNX Runtime {onnxruntime.__version__}", call, call)


main()
