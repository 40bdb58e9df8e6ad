"""The distance of VGG19 features by ONNX Runtime, on one thread: the perceptual loss of training, without Keras."""

import functools
from typing import TYPE_CHECKING

import numpy as np

from deblurgan.images import to_float
from deblurgan.restoration.in_workers import SharedFile
from deblurgan.vgg19_weights import LAYERS, MEAN_BGR, POOLED, SCALE, read_weights

if TYPE_CHECKING:
    import onnxruntime

OPSET, IR_VERSION = 18, 10
"""Versions of ONNX's operators and of its format."""


def distances(weights: SharedFile, sharp: np.ndarray, *others: np.ndarray) -> list[float]:
    """Mean squared distance of the features of images from those of the sharp one.

    The same as `training.losses.content` of `networks.vgg19`, but for rounding.

    Parameters
    ----------
    weights
        A file of `vgg19_weights.read_weights`.
    sharp, others
        `uint8` of one shape (H, W, 3).
    """
    target = features(weights, sharp)
    return [float(np.square(features(weights, image) - target).mean(dtype=np.float64)) for image in others]


def features(weights: SharedFile, image: np.ndarray) -> np.ndarray:
    """What `networks.vgg19` makes of an image, channels first: `float32` of shape (256, H // 4, W // 4)."""
    shown = (to_float(image)[..., ::-1] + 1) * np.float32(127.5) - np.array(MEAN_BGR, np.float32)
    (found,) = _session(weights).run(None, {"image": shown.transpose(2, 0, 1)[None]})
    return found[0] / np.float32(SCALE)


@functools.lru_cache(maxsize=1)
def _session(weights: SharedFile) -> "onnxruntime.InferenceSession":
    import onnx  # here: few ask for this distance
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, arrays, last = [], [], "image"
    for name, (kernel, bias) in read_weights(weights.checked()).items():
        if name in POOLED:
            nodes.append(helper.make_node("MaxPool", [last], [f"{name}_in"], kernel_shape=[2, 2], strides=[2, 2]))
            last = f"{name}_in"
        arrays.append(numpy_helper.from_array(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), f"{name}_kernel"))
        arrays.append(numpy_helper.from_array(bias, f"{name}_bias"))
        inputs = [last, f"{name}_kernel", f"{name}_bias"]
        nodes.append(helper.make_node("Conv", inputs, [name], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [name], [last := f"{name}_relu"]))
    nodes.pop()  # features are taken before the last ReLU
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, None, None])
        for name, channels in (("image", 3), (next(reversed(LAYERS)), LAYERS["block3_conv3"]))
    ]
    graph = helper.make_graph(nodes, "vgg19", ends[:1], ends[1:], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.enable_mem_pattern = False  # a plan of its memory for each new size of images
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
