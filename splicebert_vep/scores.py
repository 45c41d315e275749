"""Run the scorers on a batch, and check what they return: they may be other people's code."""

from __future__ import annotations

import math

from splicebert_vep_spec import AlignedBatch, Value
from splicebert_vep_spec._rules import INTEGER_MAX, INTEGER_MIN

from .contract import Origin
from .settings import ScorePlan


def field_values(plan: ScorePlan, batch: AlignedBatch, size: int) -> dict[str, list[Value]]:
    """Run the scorers on a batch and return one list of values per field.

    NaN becomes None, and so does a field that a scorer leaves out because no allele of the batch has it.

    Raises:
        PluginError: a scorer returned a field it was not asked for, or another number of values.
    """
    types = {field.id: field.type for planned in plan.scorers for field in planned.scorer.fields}
    columns: dict[str, list[Value]] = {}
    written = _writes(batch)
    for planned in plan.scorers:
        asked, origin = planned.asked, planned.origin
        columns.update((field.id, [None] * size) for field in planned.scorer.fields if field.id in asked)
        with origin.guarding("score"):
            tensors = dict(planned.scorer.score(batch, asked))
            for field, tensor in tensors.items():
                if not hasattr(tensor, "double") or tensor.is_complex():
                    raise origin.broken("score", needed=f"a torch tensor for {field}", found=type(tensor).__qualname__)
            shapes = {field: tuple(tensor.shape) for field, tensor in tensors.items()}
            found = {field: tensor.double().cpu().tolist() for field, tensor in tensors.items()}
        if _writes(batch) != written:
            raise origin.broken("score", needed="a batch left as it was: others read it", found="tensors written into")
        for field, values in found.items():
            if field not in asked or shapes[field] != (size,):
                raise origin.broken(
                    "score",
                    needed=f"tensors of shape ({size},), one value per allele x gene, for {', '.join(sorted(asked))}",
                    found=f"{field} of shape {shapes[field]}",
                )
            if any(math.isinf(value) for value in values):
                raise origin.broken("score", needed="finite numbers, NaN where missing", found=f"{field} is infinite")
            if types[field] == "Integer":
                columns[field] = [None if math.isnan(value) else _whole(value, field, origin) for value in values]
            else:
                columns[field] = [None if math.isnan(value) else value for value in values]
    return columns


def _writes(batch: AlignedBatch) -> list[int]:
    """Return how often each tensor of a batch has been written to, as torch counts it."""
    parts = (batch, batch.ref, batch.alt, batch.masked)
    values = (getattr(part, name) for part in parts if part is not None for name in part.__dataclass_fields__)
    return [value._version for value in values if hasattr(value, "_version")]


def _whole(value: float, field: str, origin: Origin) -> int:
    if not value.is_integer() or not INTEGER_MIN <= value <= INTEGER_MAX:
        raise origin.broken("score", needed=f"whole numbers of 32 bits: {field} is an Integer", found=f"{value}")
    return int(value)
