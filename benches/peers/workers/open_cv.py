"""OpenCV's networks, by its engine that is faster."""

import cv2
import numpy as np
from protocol import fastest, job, serve

ENGINES = [cv2.dnn.ENGINE_NEW, cv2.dnn.ENGINE_CLASSIC] if hasattr(cv2.dnn, "ENGINE_NEW") else [0]


class Runner:
    """A network, and what it is fed."""

    def __init__(self, file: str, engine: int, images: np.ndarray):
        self.net = cv2.dnn.readNetFromONNX(file, engine)
        self.net.enableWinograd(True)
        self.images = images

    def __call__(self) -> np.ndarray:
        self.net.setInput(self.images)
        return self.net.forward()


def main():
    asked = job()
    cv2.setNumThreads(asked.threads)
    images = asked.images()
    call = fastest(ENGINES, lambda engine: Runner(asked.onnx, engine, images))
    serve(f"OpenCV {cv2.__version__}", call, call)


main()
