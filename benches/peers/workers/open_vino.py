"""OpenVINO. Variants `latency`, one request, and `throughput`, as many at once as OpenVINO advises, both in float32; and
`default`, which is `latency` in the type that OpenVINO takes by itself."""

import openvino
from protocol import job, serve


def main():
    asked = job()
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": asked.threads}
    settings["PERFORMANCE_HINT"] = "THROUGHPUT" if asked.variant == "throughput" else "LATENCY"
    if asked.variant != "default":
        # By itself it takes bfloat16 where the CPU has it.
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    model = core.compile_model(asked.onnx, "CPU", settings)
    images = asked.images()
    request = model.create_infer_request()

    def one():
        return request.infer({0: images}, share_inputs=True, share_outputs=True)[0]

    call, batches = one, 1
    if asked.variant == "throughput":
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
