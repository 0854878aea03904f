"""What a built Keras model costs, counted: its variables, and the graph of one training step.

TensorFlow is imported by the caller's model, and here only once there is one.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from tf_examples._costs import SLOTS
from tf_examples._options import OptionError

_PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
_LOOPS = ("While", "StatelessWhile")
_BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")
_VIEWS = ("Identity", "Reshape", "ExpandDims", "Squeeze")
"""Operations whose result is their first input's memory."""


def count(model: Any, sequence_length: int | None, batch_size: int, rule: str) -> dict[str, Any]:
    """The costs of a built Keras model on TensorFlow, as `_costs.estimate` takes them.

    A model whose one input is a sequence of token numbers (int32 or int64, of two dimensions) has
    as many tokens as that is long; any other has one an example. Convolutions are counted as
    TensorFlow computes them: a dilated one pads its input to a multiple of its rate.

    Args:
        sequence_length: fills dimensions that the model leaves open.
        batch_size: examples that a device computes at once.
        rule: the optimizer, a key of `_costs.SLOTS`, where the model was not compiled with one.

    Raises:
        OptionError: for a model that isn't built, or has an open dimension, a loop or a branch.
    """
    if not model.built:
        raise OptionError(f"the model {model.name!r} isn't built: call it on a batch first")
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built:
        raise OptionError(
            f"the optimizer of {model.name!r} isn't built: call "
            "model.optimizer.build(model.trainable_variables) first"
        )
    specs = _input_specs(model, sequence_length, batch_size)
    graph, forward = training_step(model, batch_size, sequence_length)
    numbers = specs[0].dtype.name in ("int32", "int64")
    reads_tokens = len(specs) == 1 and numbers and len(specs[0].shape) == 2
    length = specs[0].shape[1] if reads_tokens else 1
    weights = variable_bytes(model.weights)
    state = SLOTS[rule] * variable_bytes(model.trainable_weights)
    if optimizer is not None:
        state = variable_bytes(optimizer.variables)
    flops = graph_flops(graph) / (batch_size * length)
    layers = getattr(model, "layers", ()) or [model]
    policy = max(layers, key=lambda layer: _size(layer.weights)).dtype_policy
    outputs = graph.structured_outputs[0]
    example = sum(math.prod(spec.shape[1:]) * spec.dtype.size for spec in specs)
    return {
        "name": model.name,
        "parameters": _parts(model),
        "met": float(_size(model.weights)),
        "flops_a_token": flops,
        "flops_from": "counted in its graph",
        "matrix_flops_a_token": flops,
        "recomputed_a_token": 0.0,
        "states": {
            "weights": weights,
            "gradients": variable_bytes(model.trainable_weights),
            "optimizer": state,
        },
        "activations": float(saved_bytes(graph, forward)),
        "logits": float(sum(_tensor_bytes(tensor) for tensor in outputs)),
        "checkpoints": (float(weights), float(weights + state)),
        "optimizer": optimizer.name if optimizer is not None else rule,
        "precision": policy.name,
        "half": policy.compute_dtype in ("float16", "bfloat16"),
        "sequence_length": length,
        "bytes_a_token": float(example / length),
    }


def training_step(
    model: Any, batch_size: int, sequence_length: int | None = None
) -> tuple[Any, int]:
    """The graph of a forward and a backward pass, and how many operations the forward one has.

    The loss is the sum of the outputs: a real one adds no matrix product.

    Raises:
        OptionError: for a model with a dimension left open.
    """
    import tensorflow as tf

    forward = 0

    @tf.function
    def step(*inputs: Any) -> Any:
        nonlocal forward
        with tf.GradientTape() as tape:
            outputs = model(_structured(model, inputs), training=True)
            outputs = tf.nest.flatten(outputs)
            loss = tf.add_n([tf.reduce_sum(tf.cast(output, tf.float32)) for output in outputs])
        forward = len(tf.compat.v1.get_default_graph().get_operations())
        gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
        return outputs, [gradient for gradient in gradients if gradient is not None]

    specs = _input_specs(model, sequence_length, batch_size)
    return step.get_concrete_function(*specs).graph, forward


def graph_flops(graph: Any) -> int:
    """FLOPs of the matrix products and convolutions in a `tf.Graph` of known shapes.

    TensorFlow's profiler counts additions and the like, too, and what is dropped before the graph
    runs; it leaves out `Einsum`, and mistakes the shape of a transposed `BatchMatMul` (it looks for
    the attribute `transpose_a`, which that operation calls `adj_x`).

    Raises:
        OptionError: for a loop, which repeats a number of times that the graph doesn't say.
    """
    return sum(_flops(operation) for operation in _operations(graph.outputs))


def saved_bytes(graph: Any, forward: int) -> int:
    """Bytes of the tensors that the first `forward` operations leave to the others.

    They depend on the batch, and are what the backward pass reads: the activations that must be
    kept, the batch itself among them.
    """
    operations = graph.get_operations()
    backward = _needed(graph.outputs) - {tensor.op for tensor in graph.outputs}
    batch = {
        op
        for op in operations[:forward]
        if op.type == "Placeholder" and op.outputs[0].dtype.name != "resource"
    }
    for op in operations[:forward]:
        if any(tensor.op in batch for tensor in op.inputs):
            batch.add(op)
    read = {
        _owner(tensor).ref()
        for op in operations[forward:]
        if op in backward
        for tensor in op.inputs
        if tensor.op in batch
    }
    return sum(_tensor_bytes(reference.deref()) for reference in read)


def variable_bytes(variables: Any) -> int:
    """Bytes of Keras or TensorFlow variables."""
    import tensorflow as tf

    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)


def _input_specs(model: Any, length: int | None, batch_size: int) -> list[Any]:
    import tensorflow as tf

    inputs = getattr(model, "inputs", None)
    if not inputs:
        if length is None:
            raise OptionError(
                f"the model {model.name!r} doesn't declare its inputs: give `sequence_length`, "
                "and it is taken to read token numbers"
            )
        return [tf.TensorSpec((batch_size, length), "int32")]
    specs = []
    for tensor in inputs:
        shape = [length if size is None else size for size in tensor.shape[1:]]
        if None in shape:
            raise OptionError(
                f"the model {model.name!r} leaves a length open: give `sequence_length`"
            )
        specs.append(tf.TensorSpec((batch_size, *shape), tensor.dtype))
    return specs


def _structured(model: Any, inputs: tuple) -> Any:
    """The inputs in the form in which the model takes them: one, a list, a dict."""
    import keras

    if getattr(model, "inputs", None) and isinstance(getattr(model, "input", None), dict):
        return keras.tree.pack_sequence_as(model.input, list(inputs))
    return inputs[0] if len(inputs) == 1 else list(inputs)


def _needed(outputs: Sequence[Any]) -> set[Any]:
    """The operations that some tensors depend on; TensorFlow drops the others as it runs."""
    needed: set[Any] = set()
    waiting = [tensor.op for tensor in outputs]
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed.add(operation)
            waiting += [tensor.op for tensor in operation.inputs] + operation.control_inputs
    return needed


def _operations(outputs: Sequence[Any]) -> Iterator[Any]:
    """The operations that a graph's outputs need, with those of the functions that it calls."""
    needed = _needed(outputs)
    for operation in needed:
        if operation.type in _LOOPS:
            raise OptionError("the model has a loop (a recurrent layer), which isn't counted")
        if operation.type in _BRANCHES:
            raise OptionError("the model has a branch (tf.cond), which isn't counted")
        yield operation
        if operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
            called = operation.graph._get_function(operation.get_attr("f").name).graph
            used = [
                inner
                for inner, outer in zip(called.outputs, operation.outputs, strict=True)
                if any(outer is one for one in outputs)
                or any(user in needed for user in outer.consumers())
            ]
            yield from _operations(used)


def _flops(operation: Any) -> int:
    kind = operation.type
    if kind in _PRODUCTS:
        turned = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
        inner = _shape(operation.inputs[0])[-2 if turned else -1]
        return 2 * inner * math.prod(_shape(operation.outputs[0]))
    if kind == "Einsum":
        return _einsum_flops(operation)
    if "Conv" in kind:
        return _convolution_flops(operation)
    return 0


def _einsum_flops(operation: Any) -> int:
    """2 for each combination of its letters; nothing where it only sums or turns one tensor."""
    terms = operation.get_attr("equation").decode().split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for tensor, letters in zip(operation.inputs, terms, strict=True):
        shape = _shape(tensor)
        more = len(shape) - len(letters.replace("...", ""))
        spelled = letters.replace("...", "0123456789"[10 - more :])
        for letter, size in zip(spelled, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return 2 * math.prod(sizes.values()) if len(terms) > 1 else 0


def _convolution_flops(operation: Any) -> int:
    """Of a convolution or either of its gradients: 2 a number of the kernel and output place."""
    kind = operation.type
    if "BackpropFilter" in kind:
        kernel, output = operation.outputs[0], operation.inputs[2]
    elif "BackpropInput" in kind:
        kernel, output = operation.inputs[1], operation.inputs[2]
    elif kind in ("Conv2D", "Conv3D", "DepthwiseConv2dNative"):
        kernel, output = operation.inputs[1], operation.outputs[0]
    else:
        return 0
    shape = _shape(kernel)
    channels = math.prod(shape[-2:]) if "Depthwise" in kind else shape[-1]
    return 2 * math.prod(_shape(output)) * (math.prod(shape) // channels)


def _owner(tensor: Any) -> Any:
    """The tensor in whose memory `tensor` lies."""
    while tensor.op.type in _VIEWS:
        tensor = tensor.op.inputs[0]
    return tensor


def _tensor_bytes(tensor: Any) -> int:
    return math.prod(_shape(tensor)) * tensor.dtype.size


def _shape(tensor: Any) -> list[int]:
    if not tensor.shape.is_fully_defined():
        raise OptionError(f"the shape of {tensor.name} depends on the data, so it isn't counted")
    return tensor.shape.as_list()


def _size(variables: Any) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def _parts(model: Any) -> dict[str, int]:
    """The parameters of each layer; one that two layers share counts with the first."""
    seen: set[int] = set()
    parts = {}
    for layer in getattr(model, "layers", ()) or [model]:
        own = [weight for weight in layer.weights if id(weight) not in seen]
        seen.update(map(id, own))
        if own:
            parts[layer.name] = _size(own)
    rest = _size(weight for weight in model.weights if id(weight) not in seen)
    return parts | ({model.name: rest} if rest else {})
