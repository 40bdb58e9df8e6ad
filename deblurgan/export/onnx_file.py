"""A generator as an ONNX file: any batch, height and width, computed in `float32`."""

import keras
import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from tf2onnx import optimizer, tf_loader
from tf2onnx.optimizer.const_fold_optimizer import ConstFoldOptimizer
from tf2onnx.optimizer.identity_optimizer import IdentityOptimizer
from tf2onnx.tfonnx import process_tf_graph

from deblurgan.networks.layers import MeanAround
from deblurgan.restoration.exported import IMAGE, LEAST_WINDOW, RESTORED

OPSET = 18
"""Version of ONNX's operators, of December 2022: browsers' and phones' runtimes have it."""
OPTIMIZERS = {"fold_constants": ConstFoldOptimizer, "remove_identity": IdentityOptimizer}
"""Of tf2onnx. Its others walk through sets: they leave other operators from run to run. What they do, ONNX Runtime does
when it reads the file: results are the same to the bit, and as fast."""
SCALARS = 16
"""Arrays of fewer numbers are settings of operators as a rule; no memory is saved by storing them in half precision."""


def onnx_bytes(generator: keras.Model, metadata: dict[str, str]) -> bytes:
    """Convert a generator to the content of an ONNX file: the same bytes for the same generator.

    Weights that half precision holds exactly are stored in it, which halves the file and changes no result.

    Parameters
    ----------
    generator
        See `networks.generators.build_generator`.
    metadata
        What the file says about itself.
    """
    return onnx_model(generator, metadata).SerializeToString(deterministic=True)


def onnx_model(generator: keras.Model, metadata: dict[str, str]) -> onnx.ModelProto:
    """Convert a generator, see `onnx_bytes`.

    Local attention has an input of its own, whose default changes nothing: the least length of its windows, in pixels,
    by which `restoration.exported` gets global attention from the same file.
    """
    local = [layer for layer in generator.layers if isinstance(layer, MeanAround) and layer.window]
    windows = [layer.window for layer in local]

    def restored(blurred, least=None):
        try:
            for layer, window in zip(local, windows, strict=True):
                layer.window = tf.maximum(window, least)
            return generator(blurred, training=False)
        finally:
            for layer, window in zip(local, windows, strict=True):
                layer.window = window

    inputs = [tf.TensorSpec((None, None, None, 3), tf.float32, name=IMAGE)]
    if local:
        inputs.append(tf.TensorSpec((), tf.int32, name=LEAST_WINDOW))
    traced = tf.function(restored, input_signature=inputs, autograph=False)
    model = _converted(traced.get_concrete_function())
    graph = model.graph
    _put_in_order(graph)
    _rename(graph)
    if local:
        graph.initializer.append(numpy_helper.from_array(np.array(0, np.int32), LEAST_WINDOW))
    if all(_is_exact_in_half(weight) for weight in generator.get_weights()):
        _store_halves(graph)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def _converted(function: tf.types.experimental.ConcreteFunction) -> onnx.ModelProto:
    """A traced function as ONNX, with no optimization but those of `OPTIMIZERS`."""
    shown, given = [tensor for tensor in function.inputs if tensor.dtype != tf.resource], function.outputs
    ends = {"input_names": [tensor.name for tensor in shown], "output_names": [tensor.name for tensor in given]}
    specs = [spec for spec in tf.nest.flatten(function.structured_input_signature) if isinstance(spec, tf.TensorSpec)]
    names = {tensor.name: spec.name for tensor, spec in zip(shown, specs, strict=True)}
    with tf.device("/cpu:0"):
        frozen = tf_loader.from_function(function, *ends.values())
        with tf.Graph().as_default() as computed:
            tf.import_graph_def(frozen, name="")
            graph = process_tf_graph(computed, opset=OPSET, tensors_to_rename=names, **ends)
    return optimizer.optimize_graph(graph, catch_errors=False, optimizers=OPTIMIZERS).make_model("generator")


def _put_in_order(graph: onnx.GraphProto) -> None:
    """Order nodes and arrays as they are met on the way from the result to its inputs: tf2onnx's order is by chance."""
    makers = {name: node for node in graph.node for name in node.output}
    ordered = dict[str, onnx.NodeProto]()  # by the first output
    waiting = [(makers[graph.output[0].name], False)]
    while waiting:
        node, ready = waiting.pop()
        if node.output[0] in ordered:
            continue
        if ready:
            ordered[node.output[0]] = node
        else:
            waiting.append((node, True))
            waiting.extend((makers[name], False) for name in reversed(node.input) if name in makers)
    arrays, used = {tensor.name: tensor for tensor in graph.initializer}, dict[str, TensorProto]()
    for node in ordered.values():
        for name in node.input:
            if name in arrays:
                used[name] = arrays[name]
        attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
        del node.attribute[:]
        node.attribute.extend(attributes)
    nodes, tensors = list(ordered.values()), list(used.values())
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)


def _rename(graph: onnx.GraphProto) -> None:
    """Number values and nodes in their order: names of TensorFlow's depend on what the process has built before."""
    given = {value.name for value in graph.input}
    made = [tensor.name for tensor in graph.initializer] + [name for node in graph.node for name in node.output]
    new = {name: f"v{i}" for i, name in enumerate(name for name in made if name and name not in given)}
    (result,) = graph.output
    new[result.name] = RESTORED
    graph.name, graph.doc_string = "generator", ""  # else a number of the process
    for i, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{i}"
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]
    for named in (*graph.initializer, *graph.output):
        named.name = new.get(named.name, named.name)
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        shape = value.type.tensor_type.shape
        if len(shape.dim) == 4:
            for dimension, word in zip(shape.dim, ("N", "H", "W"), strict=False):
                dimension.dim_param = word


def _is_exact_in_half(values: np.ndarray) -> bool:
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16) == values).all())


def _store_halves(graph: onnx.GraphProto) -> None:
    """Store arrays that half precision holds exactly in it; they become `float32` when the file is read."""
    kept, casts = list[TensorProto](), list[onnx.NodeProto]()
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT and values.size >= SCALARS and _is_exact_in_half(values):
            stored = f"{tensor.name}_half"
            casts.append(helper.make_node("Cast", [stored], [tensor.name], f"Cast_{tensor.name}", to=TensorProto.FLOAT))
            tensor = numpy_helper.from_array(values.astype(np.float16), stored)
        kept.append(tensor)
    nodes = [*casts, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
