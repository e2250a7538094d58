"""OpenVINO in float32: variants `latency`, one request, and `throughput`, as many at once as OpenVINO advises."""

import openvino
from protocol import job, serve


def main():
    asked = job()
    core = openvino.Core()
    hint = asked.variant.upper()
    settings = {
        "PERFORMANCE_HINT": hint,
        "INFERENCE_NUM_THREADS": asked.threads,
        # By itself it takes bfloat16 where the CPU has it.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = core.compile_model(asked.folder / f"model-{asked.batch}.onnx", "CPU", settings)
    images = asked.images()
    request = model.create_infer_request()

    def one():
        return request.infer({0: images}, share_inputs=True, share_outputs=True)[0]

    call, batches = one, 1
    if hint == "THROUGHPUT":
        requests = model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        queue = openvino.AsyncInferQueue(model, requests)
        # Two a request, so that none waits for its next batch.
        batches = 2 * requests

        def call():
            for _ in range(batches):
                queue.start_async({0: images}, share_inputs=True)
            queue.wait_all()

    for _ in range(3):
        call()
    serve(f"OpenVINO {openvino.__version__.split('-')[0]}", call, one, batches)


main()
