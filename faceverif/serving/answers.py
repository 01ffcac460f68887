"""The JSON of the service's answers; rates are fractions, intervals are 95 %."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from faceverif.models import MODEL_NAME, Embedder

Interval = tuple[float, float]


def public_name(embedder: Embedder) -> str:
    """A model's folder or file without the path to it, which the machine keeps to itself."""
    file = Path(embedder.name).resolve()  # of one in the folder where the service was started, too
    return file.parent.name if file.name == MODEL_NAME else file.name


class Grounds(BaseModel):
    """The pairs that the thresholds come from."""

    protocol: str
    impostor_pairs: int
    genuine_pairs: int
    model_sha256: str


class ComparisonAnswer(BaseModel):
    """How two photos compare; the fields of `faceverif compare --json`."""

    similarity: float = Field(
        description="Cosine of the two embeddings, in [-1, 1]; its digits from 1e-7 on depend on which "
        "requests were computed together."
    )
    same: bool | None = Field(
        description="The decision: similarity >= threshold; null where a photo is rejected."
    )
    rejected: list[bool] | None = Field(
        None, description="Which photos look adversarial; null where the service has no guard."
    )
    rejection_scores: list[float] | None = Field(None, description="Higher is more adversarial.")
    rejection_threshold: float | None = None
    threshold: float
    far: float = Field(description="The false accept rate that the threshold was set for.")
    measured_far: float
    far_interval: Interval
    tar: float = Field(description="The true accept rate measured at the threshold.")
    tar_interval: Interval
    calibration: Grounds
    faces: list[int] = Field(description="How many faces each photo shows.")
    model: str
    notes: list[str] = Field(description="What a user should know beside the decision.")


class EmbeddingAnswer(BaseModel):
    """The embedding of the face in a photo."""

    embedding: list[float] = Field(description="Of length 1. Compare only with those of the same model.")
    dim: int
    faces: int = Field(description="How many the photo shows.")
    template: str = Field(description="How the face was cut.")
    rejected: bool | None = Field(None, description="Null where the service has no guard.")
    rejection_score: float | None = None
    rejection_threshold: float | None = None
    model: str
    model_sha256: str


class HealthAnswer(BaseModel):
    """The service is ready."""

    status: Literal["ok"] = "ok"
    version: str
    model: str
    model_sha256: str
    rejects: bool = Field(description="Whether it has a guard.")
