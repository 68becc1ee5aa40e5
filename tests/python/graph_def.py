"""Runs an exported GraphDef in TensorFlow.

graph_def.py MODEL.pb INPUT.f32 LOGITS.f32 float      the outputs must be these
graph_def.py MODEL.pb INPUT.f32 OURS.tflite integer   TensorFlow's own converter must make integers of it, like ours
"""
import sys

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
path, input_path, other, mode = sys.argv[1:]
graph = v1.GraphDef()
with open(path, "rb") as file:
    graph.ParseFromString(file.read())
pixels = np.fromfile(input_path, np.float32).reshape(1, 32, 32, 3)

with tf.Graph().as_default() as imported:
    tf.import_graph_def(graph, name="")
    with v1.Session(graph=imported) as session:
        logits = session.run("logits:0", {"input:0": pixels})

if mode == "float":
    wanted = np.fromfile(other, np.float32)
    gap = np.abs(logits.ravel() - wanted).max()
    # Of outputs around 1; larger ones carry larger rounding errors.
    assert gap <= 1e-5 * max(1.0, np.abs(wanted).max()), f"outputs differ by {gap}"
    print(f"outputs agree within {gap:.1e}")
    sys.exit()

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
