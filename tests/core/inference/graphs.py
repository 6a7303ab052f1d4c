"""Small ONNX files as other programs write them, built node by node: what third-party models are tested with."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """A chain of nodes from ``picture`` to ``result``; each method adds one and returns the name of what it makes."""

    def __init__(self, seed=0, positive=False):
        self.rng = np.random.default_rng(seed)
        self.positive = positive
        """All weights above 0 and no biases, so that nothing cancels and every ReLU is open to positive images."""
        self.nodes, self.constants = [], []
        self.last = "picture"

    def node(self, kind, *inputs, **attributes):
        self.last = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [self.last], **attributes))
        return self.last

    def constant(self, values, dtype=np.float32):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def weights(self, *shape):
        if self.positive:
            return self.constant(self.rng.uniform(0.5, 1.5, shape) / np.prod(shape[1:]))
        return self.constant(self.rng.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:])))

    def conv(self, source, channels=1, out=1, size=3, stride=1, dilation=1, bias=0.0, padding=None):
        reach = dilation * (size - 1)
        pads = [reach // 2] * 4 if padding is None else [padding] * 4
        kernel = self.weights(out, channels, size, size)
        return self.node(
            "Conv", source, kernel, self.constant([0.0 if self.positive else bias] * out),
            kernel_shape=[size, size], strides=[stride] * 2, dilations=[dilation] * 2, pads=pads,
        )  # fmt: skip

    def pool(self, source, size, kind="MaxPool"):
        return self.node(kind, source, kernel_shape=[size] * 2, strides=[size] * 2)

    def enlarge(self, source, factor, kind="nearest"):
        if kind == "transposed":
            weights = self.weights(1, 1, factor, factor)
            return self.node("ConvTranspose", source, weights, kernel_shape=[factor] * 2, strides=[factor] * 2)
        rule = {"nearest": ("asymmetric", "floor"), "linear": ("half_pixel", "floor")}[kind]
        return self.node(
            "Resize", source, "", self.constant([1, 1, factor, factor]),
            mode=kind, coordinate_transformation_mode=rule[0], nearest_mode=rule[1],
        )  # fmt: skip

    def size_of(self, source):
        """Return the shape's Y and X."""
        return self.node("Shape", source, start=2, end=4)

    def save(self, path, sizes=("batch", 1, "height", "width")):
        nodes = [*self.nodes, helper.make_node("Identity", [self.last], ["result"])]
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(sizes)) for name in ("picture", "result")]
        graph = helper.make_graph(nodes, "theirs", ends[:1], ends[1:], self.constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
        return path


def theirs(path, image):
    """Return what a file gives for a whole image, (C, Y, X), at its own size; None when it does not take that."""
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    try:
        return session.run(None, {"picture": image[None]})[0][0]
    except (states.Fail, states.RuntimeException, states.InvalidArgument):
        return None
