"""The encoder's network as an ONNX graph of 8-bit integers, made from the published weights.

BERT (Devlin et al. 2019) as MiniLM has it, for one text at a time: word pieces in, unit vector
and piece vectors out. One text, because the range of the activations is measured as they come:
in a batch each text's numbers would depend on its neighbours.

Weights are symmetric with a scale for each output, in 7 of 8 bits, so that the sums of products
saturate on no processor and every machine computes the same integers. The graph is made from
hashed bytes; one that is kept is used by its own hash (`models.graph_cache`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.features import LONGEST, WIDTH

HEADS, LAYERS = 12, 6

Weights = Mapping[str, npt.NDArray[np.float32]]

_EPSILON = 1e-12
_LARGEST = 63  # of 7 bits
_ROWS = 512
_VENDOR = "com.microsoft"  # ONNX Runtime's fused operators (docs/ContribOperators.md)


@dataclass(slots=True)
class _Graph:
    """Nodes and constants as they are added; values are known by name."""

    weights: Weights
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(
        self, kind: str, inputs: Sequence[str], *outputs: str, domain: str = "", **settings: Any
    ) -> str:
        self.nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **settings))
        return outputs[0]

    def normalised(self, value: str, weights: str) -> str:
        """Return layer normalisation of a value, by the weights of that name."""
        scale = self.constant(f"{weights}.weight", self.weights[f"{weights}.weight"])
        shift = self.constant(f"{weights}.bias", self.weights[f"{weights}.bias"])
        return self.add(
            "LayerNormalization", [value, scale, shift], f"{weights}.out", axis=-1, epsilon=_EPSILON
        )

    def linear(self, value: str, *layers: str) -> str:
        """Return the outputs of linear layers on one value, side by side."""
        matrix = np.concatenate([self.weights[f"{layer}.weight"] for layer in layers])
        bias = np.concatenate([self.weights[f"{layer}.bias"] for layer in layers])
        integers, scales = quantised(matrix)
        name = layers[0]
        return self.add(
            "DynamicQuantizeMatMul",
            [
                value,
                self.constant(f"{name}.integers", integers.T),
                self.constant(f"{name}.scales", scales),
                self.constant(f"{name}.zeros", np.zeros(len(scales), np.int8)),
                self.constant(f"{name}.bias", bias),
            ],
            f"{name}.out",
            domain=_VENDOR,
        )


def encoder_graph(weights: Weights, *, layers: int = LAYERS) -> bytes:
    """Return the network as a serialised ONNX model.

    Input `pieces`: int64 `(piece,)`. Outputs `features`: float32 `(384,)` of norm one, the mean
    over the pieces; `hidden`: float32 `(piece, 384)`.

    Args:
        weights: The tensors of a `BertModel` of this width, by their published names.
        layers: How many to run; what is nearer to the words needs few.

    Raises:
        KeyError: A tensor is missing.
    """
    graph = _Graph(weights)
    graph.constant("heads", np.array([0, HEADS, WIDTH // HEADS]))
    graph.constant("joined", np.array([0, WIDTH]))
    graph.constant("root", np.array(np.sqrt(WIDTH // HEADS), np.float32))
    value = _embedded(graph)
    for number in range(layers):
        value = _layer(graph, value, f"encoder.layer.{number}")
    graph.add("Identity", [value], "hidden")
    mean = graph.add("ReduceMean", ["hidden", graph.constant("first", np.array([0]))], "mean")
    length = graph.add("ReduceL2", [mean], "length")
    unit = graph.add("Div", [mean, length], "unit")
    graph.add("Reshape", [unit, graph.constant("flat", np.array([WIDTH]))], "features")
    return _serialised(graph)


def quantised(
    matrix: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return integers `(row, column)` and a scale for each row: row = scale * integers."""
    largest = np.maximum(matrix.max(axis=1), -matrix.min(axis=1))
    scales = np.maximum(largest, np.float32(1e-12)) / np.float32(_LARGEST)
    integers = np.empty(matrix.shape, np.int8)
    for start in range(0, len(matrix), _ROWS):  # what fits the processor's cache: twice as fast
        rows = slice(start, start + _ROWS)
        integers[rows] = np.rint(matrix[rows] / scales[rows, None])
    return integers, scales


def _embedded(graph: _Graph) -> str:
    """Return the normalised sum of word, place and kind; the kind of all is the first."""
    integers, scales = quantised(graph.weights["embeddings.word_embeddings.weight"])
    rows = graph.add("Gather", [graph.constant("words", integers), "pieces"], "word.integers")
    scale = graph.add(
        "Gather", [graph.constant("words.scales", scales[:, None]), "pieces"], "word.scales"
    )
    cast = graph.add("Cast", [rows], "word.cast", to=TensorProto.FLOAT)
    word = graph.add("Mul", [cast, scale], "word")
    kind = graph.weights["embeddings.token_type_embeddings.weight"][0]
    places = graph.weights["embeddings.position_embeddings.weight"][:LONGEST] + kind
    count = graph.add("Shape", ["pieces"], "count")
    start = graph.constant("start", np.array([0]))
    place = graph.add("Slice", [graph.constant("places", places), start, count], "place")
    return graph.normalised(graph.add("Add", [word, place], "embedded"), "embeddings.LayerNorm")


def _layer(graph: _Graph, value: str, name: str) -> str:
    """Return attention and feed-forward of one layer, each added to its input and normalised."""
    mixed = graph.linear(_attended(graph, value, name), f"{name}.attention.output.dense")
    summed = graph.add("Add", [mixed, value], f"{name}.attended")
    middle = graph.normalised(summed, f"{name}.attention.output.LayerNorm")
    wide = graph.linear(middle, f"{name}.intermediate.dense")
    bent = graph.add("Gelu", [wide], f"{name}.gelu")
    narrow = graph.linear(bent, f"{name}.output.dense")
    summed = graph.add("Add", [narrow, middle], f"{name}.fed")
    return graph.normalised(summed, f"{name}.output.LayerNorm")


def _attended(graph: _Graph, value: str, name: str) -> str:
    """Return scaled dot-product attention of a layer, heads joined: `(piece, 384)`."""
    parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    graph.add("Split", [graph.linear(value, *parts)], *parts, axis=-1, num_outputs=3)
    query, key, values = (
        graph.add(
            "Transpose",
            [graph.add("Reshape", [part, "heads"], f"{part}.heads")],
            f"{part}.turned",
            perm=[1, 2, 0] if part.endswith("key") else [1, 0, 2],
        )
        for part in parts
    )
    scores = graph.add("MatMul", [query, key], f"{name}.scores")
    scaled = graph.add("Div", [scores, "root"], f"{name}.scaled")
    shares = graph.add("Softmax", [scaled], f"{name}.shares", axis=-1)
    taken = graph.add("MatMul", [shares, values], f"{name}.taken")
    turned = graph.add("Transpose", [taken], f"{name}.turned", perm=[1, 0, 2])
    return graph.add("Reshape", [turned, "joined"], f"{name}.joined")


def _serialised(graph: _Graph) -> bytes:
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "encoder",
            [helper.make_tensor_value_info("pieces", TensorProto.INT64, ["piece"])],
            [
                helper.make_tensor_value_info("features", TensorProto.FLOAT, [WIDTH]),
                helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["piece", WIDTH]),
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid(_VENDOR, 1)],
        ir_version=10,
    )
    data: bytes = model.SerializeToString()
    return data
