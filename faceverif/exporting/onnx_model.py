"""An ONNX file of a traced network."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch.export import ExportedProgram

from faceverif.exporting.program import can_be_halved, cannot_export
from faceverif.models.onnx_label import OnnxLabel

OPSET = 18
INPUT, OUTPUT = "pixels", "embedding"
PREPROCESS = "rgb-255"  # RGB, x / 255: what every backbone takes


def as_onnx(program: ExportedProgram, *, input_px: int) -> ModelProto:
    """The ONNX graph of a program, with the names above and an open batch.

    Raises:
        InputError: an operator has no counterpart in ONNX.
    """
    example = torch.rand(2, 3, input_px, input_px)
    try:
        exported = torch.onnx.export(
            program,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    except Exception as error:  # its exceptions have no common class
        raise cannot_export(error) from error
    assert exported is not None
    model = exported.model_proto
    _name_batch(model)
    return model


def _name_batch(model: ModelProto) -> None:
    """Call the open dimension `batch`; PyTorch calls it s77."""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = "batch"


def halve_weights(model: ModelProto) -> None:
    """Store the large weights as float16, with a cast to float32 behind each: see `with_half_weights`."""
    casts = []
    for tensor in model.graph.initializer:
        weight = numpy_helper.to_array(tensor)
        if can_be_halved(weight):
            stored = f"{tensor.name}.half"
            casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
            tensor.CopyFrom(numpy_helper.from_array(weight.astype(np.float16), stored))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])


def label(model: ModelProto, about: OnnxLabel) -> None:
    """Write into a model's metadata what it takes and where it comes from."""
    helper.set_model_props(model, about.as_metadata())
    model.graph.doc_string = (
        f"{INPUT}: RGB in [0, 1], {about.spec.template}, the middle {about.spec.input_px} x "
        f"{about.spec.input_px} pixels; {OUTPUT}: compare by cosine"
    )
    onnx.checker.check_model(model)
