"""The paths of the web service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Depends, FastAPI, File, Query, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from data_prep.errors import InputError
from faceverif.serving.answers import ComparisonAnswer, EmbeddingAnswer, HealthAnswer, public_name
from faceverif.serving.gate import Gate
from faceverif.serving.limits import Limits
from faceverif.serving.recognition import Recognition, SeveralFaces
from faceverif.serving.refusals import Code, Refusal, described
from faceverif.verification.calibration import CalibratedPoint, Calibration
from faceverif.verification.compare import Comparison

_ERRORS = described(408, 413, 415, 422, 429, 503)
_PHOTO_RULE = "must be sent as a part of a multipart form, with a file name"
_LONGEST_NAME = 100  # characters of a name that an error repeats
_CODES: dict[int, Code] = {404: "not_found", 405: "not_allowed"}

Photo = Annotated[UploadFile, File(description="A photo that shows one face: JPEG, PNG, WebP, ...")]
Several = Annotated[
    SeveralFaces,
    Query(
        description="What happens to a photo with several faces: it is refused, or the largest face near its "
        "middle is taken."
    ),
]
Far = Annotated[
    float | None,
    Query(description="False accept rate whose calibrated threshold decides; default: that of the service."),
]


def build_service(recognition: Recognition, limits: Limits) -> ASGIApp:
    """The whole service as uvicorn runs it.

    Args:
        recognition: the models; closed when the service ends.
        limits: of each request and client.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        recognition.close()

    app = FastAPIOffline(
        title="faceverif",
        version=version("faceverif"),
        description="Compares two photos of faces, and embeds one.",
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_photo_paths(app, recognition)
    _add_health(app, recognition)
    _answer_errors_as_json(app)
    return Gate(app, limits)


def _add_photo_paths(app: FastAPI, recognition: Recognition) -> None:
    @app.post("/compare", responses=_ERRORS, dependencies=[Depends(_refuse_unread)])
    async def compare(
        first: Photo, second: Photo, far: Far = None, several_faces: Several = SeveralFaces.REFUSE
    ) -> ComparisonAnswer:
        """Decide whether two photos show the same person."""
        return await _compared(recognition, first, second, far=far, several=several_faces)

    @app.post("/embed", responses=_ERRORS, dependencies=[Depends(_refuse_unread)])
    async def embed(photo: Photo, several_faces: Several = SeveralFaces.REFUSE) -> EmbeddingAnswer:
        """Give the embedding of the face in a photo."""
        return await _embedded(recognition, photo, several=several_faces)


async def _refuse_unread(request: Request) -> None:
    """What a path does not know would be left out without a word, and of two with one name the first."""
    takes, form = request.scope["route"].dependant, await request.form()
    for place, sent, known in (
        ("form", form.multi_items(), takes.body_params),
        ("address", request.query_params.multi_items(), takes.query_params),
    ):
        names = [name[:_LONGEST_NAME] for name, _ in sent]
        for name in names:
            if name not in {each.name for each in known}:
                taken = ", ".join(each.name for each in known)
                message = f"{name}: is not read from the {place}, which takes {taken}"
                raise Refusal(422, "invalid_request", message, field=name)
            if names.count(name) > 1:
                raise Refusal(422, "invalid_request", f"{name}: must be sent once", field=name)


async def _compared(
    recognition: Recognition,
    first: UploadFile,
    second: UploadFile,
    *,
    far: float | None,
    several: SeveralFaces,
) -> ComparisonAnswer:
    comparer = recognition.comparer
    point = comparer.point if far is None else _point(comparer.calibration, far)
    contents = {"first": await first.read(), "second": await second.read()}
    searches = [
        recognition.find(content, field=field, several=several) for field, content in contents.items()
    ]
    faces = list(await asyncio.gather(*searches))
    one, other = await recognition.embed(faces)
    similarity = float(one.embedding @ other.embedding)
    compared = Comparison(faces, similarity, point, comparer.calibration, public_name(comparer.embedder))
    answer: dict[str, Any] = compared.as_json() | {"notes": compared.notes()}
    answer |= recognition.verdict([one, other])
    if any(answer.get("rejected", [])):
        answer["same"] = None
    return ComparisonAnswer.model_validate(answer)


def _point(calibration: Calibration, far: float) -> CalibratedPoint:
    try:
        return calibration.point(far)
    except InputError as error:
        known = ", ".join(f"{point.far:g}" for point in calibration.points)
        message = f"far: must be a calibrated false accept rate: {known}; got {far:g}"
        raise Refusal(422, "invalid_request", message, field="far") from error


async def _embedded(recognition: Recognition, photo: UploadFile, *, several: SeveralFaces) -> EmbeddingAnswer:
    embedder = recognition.comparer.embedder
    face = await recognition.find(await photo.read(), field="photo", several=several)
    (seen,) = await recognition.embed([face])
    verdict = recognition.verdict([seen])
    return EmbeddingAnswer(
        embedding=seen.embedding.tolist(),
        dim=len(seen.embedding),
        faces=face.faces,
        template=embedder.spec.template,
        rejected=verdict["rejected"][0] if verdict else None,
        rejection_score=seen.rejection_score,
        rejection_threshold=verdict.get("rejection_threshold"),
        model=public_name(embedder),
        model_sha256=recognition.model_sha256,
    )


def _add_health(app: FastAPI, recognition: Recognition) -> None:
    embedder = recognition.comparer.embedder

    @app.get("/health")
    async def health() -> HealthAnswer:
        """Say that the service is ready, and which model it has."""
        return HealthAnswer(
            version=app.version,
            model=public_name(embedder),
            model_sha256=recognition.model_sha256,
            rejects=recognition.guard is not None,
        )


def _answer_errors_as_json(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        return refusal.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place, field = first["loc"][0], str(first["loc"][-1])
        rule = _PHOTO_RULE if place == "body" else first["msg"]
        return Refusal(422, "invalid_request", f"{field}: {rule}", field=field).response()

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, "invalid_request")
        message = f"{error.detail.rstrip('.')}. GET /docs shows the paths."
        return Refusal(error.status_code, code, message).response()

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        """The log has the cause; the client cannot change it."""
        return Refusal(500, "internal", "the service failed; its log says why").response()
