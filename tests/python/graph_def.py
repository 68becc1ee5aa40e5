"""Runs an exported GraphDef in TensorFlow.

graph_def.py FOLDER floats                            of each NAME.pb that there is, on NAME.input.f32, the outputs must
                                                      be NAME.logits.f32
graph_def.py MODEL.pb INPUT.f32 OURS.tflite integer   TensorFlow's own converter must make integers of it, like ours
"""
import pathlib
import sys

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


def outputs(path, pixels):
    """What a graph makes of an image, whose shape its input tells."""
    graph = v1.GraphDef()
    graph.ParseFromString(path.read_bytes())
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
        shape = imported.get_tensor_by_name("input:0").shape.as_list()
        with v1.Session(graph=imported) as session:
            return session.run("logits:0", {"input:0": pixels.reshape([1, *shape[1:]])}).ravel()


if sys.argv[2] == "floats":
    files = sorted(pathlib.Path(sys.argv[1]).glob("*.pb"))
    for file in files:
        pixels, wanted = (np.fromfile(file.with_suffix(part), np.float32) for part in (".input.f32", ".logits.f32"))
        gap = np.abs(outputs(file, pixels) - wanted).max()
        # Of outputs around 1; larger ones carry larger rounding errors.
        assert gap <= 1e-5 * max(1.0, np.abs(wanted).max()), f"{file.name}: outputs differ by {gap}"
    print(f"outputs of {len(files)} files agree")
    sys.exit()

path, input_path, other, mode = sys.argv[1:]
assert mode == "integer"
converter = v1.lite.TFLiteConverter.from_frozen_graph(
    path, ["input"], ["logits"], input_shapes={"input": [1, 32, 32, 3]}
)
converter.inference_type = converter.inference_input_type = converter.inference_output_type = tf.int8
converter.quantized_input_stats = {"input": (0.0, 64.0)}
theirs = tf.lite.Interpreter(model_content=converter.convert())
theirs.allocate_tensors()
types = {detail["dtype"] for detail in theirs.get_tensor_details()}
assert types <= {np.int8, np.int32}, f"not all integers: {types}"


def operators(interpreter):
    names = (operator["op_name"] for operator in interpreter._get_ops_details())
    kept = [name for name in names if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MEAN")]
    return sorted(kept)


ours = tf.lite.Interpreter(model_path=other)
ours.allocate_tensors()
theirs_have = operators(theirs)
# Ours takes pixels, and normalises them by an operator of its own.
ours_have = [name for name in operators(ours) if name != "DEPTHWISE_CONV_2D"]
assert ours_have == theirs_have, f"{ours_have} and {theirs_have}"
print(f"full-integer: {len(theirs_have)} operators")
