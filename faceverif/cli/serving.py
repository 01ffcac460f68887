"""The command that answers over HTTP: serve."""

from __future__ import annotations

from typing import Annotated

import typer

from data_prep.device import choose_device
from data_prep.progress import say
from faceverif.cli.options import (
    Device,
    OnnxOutput,
    OptionalModel,
    Preprocess,
    RejectAt,
    Thresholds,
    chosen_model,
)
from faceverif.extras import require_extra
from faceverif.serving.limits import Limits


def serve(
    model: OptionalModel = None,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    far: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="False accept rate whose calibrated threshold decides; a request may name another.",
        ),
    ] = 0.01,
    thresholds: Thresholds = None,
    reject: RejectAt = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0: every one of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any that is free.")] = 8000,
    body_mb: Annotated[
        int, typer.Option("--body-mb", min=1, help="Largest request, in megabytes.")
    ] = Limits.body_mb,
    per_minute: Annotated[
        int, typer.Option("--per-minute", min=0, help="Requests a minute from one address; 0: any number.")
    ] = Limits.requests_per_minute,
    waiting: Annotated[
        int, typer.Option(min=1, help="Requests in work at a time; more are refused with status 503.")
    ] = Limits.waiting,
    device: Device = "auto",
) -> None:
    """Answer over HTTP: compare two photos, embed one. Needs the extra `serve`."""
    require_extra("serve", "fastapi", "fastapi_offline", "python_multipart", "uvicorn", field="serve")
    from faceverif.address import Address, listen
    from faceverif.models.location import spoken
    from faceverif.serving.server import run
    from faceverif.verification.calibration import refuse_uncalibrated

    limits = Limits(body_mb=body_mb, requests_per_minute=per_minute, waiting=waiting)
    chosen = chosen_model(model)
    refuse_uncalibrated(chosen, far, file=thresholds, preprocess=preprocess, output=output)
    address = Address(host, port)
    with listen(address) as listening:
        say(f"loading {spoken(chosen)}")
        choose_device(device)

        from faceverif.serving.recognition import Recognition
        from faceverif.serving.service import build_service
        from faceverif.verification.compare import Comparer

        comparer = Comparer.load(chosen, far=far, preprocess=preprocess, output=output, thresholds=thresholds)
        guard = None
        if reject is not None:
            from robustness.guard import load_guard

            guard = load_guard(chosen, rate=reject)
        if not address.own_machine:
            say("note: there is no login; everyone who reaches this address may send photos")
        run(build_service(Recognition(comparer, guard=guard), limits), listening)
