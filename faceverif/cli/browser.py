"""The command that serves the page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_prep.device import choose_device
from data_prep.progress import say
from faceverif.cli.checks import exists
from faceverif.cli.options import Device, OnnxOutput, OptionalModel, Preprocess, chosen_model
from faceverif.extras import require_extra

_USUAL_RUNS = Path("runs")


def app(
    model: OptionalModel = None,
    gallery: Annotated[
        Path | None,
        typer.Option("--gallery", callback=exists, help="Folder of people that *Who is it* begins with."),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option("--runs", callback=exists, help="Folder whose reports are listed; default: runs."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to serve on; others reach 0.0.0.0 over the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 7860,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    device: Device = "auto",
) -> None:
    """Open a page in the browser: compare photos, attack one, look people up, read reports.

    Nothing leaves the machine, and no photo is kept.
    """
    from faceverif.address import Address, listen
    from faceverif.app.uploads import temporary_uploads
    from faceverif.models.location import spoken
    from faceverif.verification.calibration import refuse_uncalibrated

    require_extra("app", "gradio", field="app")
    chosen = chosen_model(model)
    refuse_uncalibrated(chosen, preprocess=preprocess, output=output)
    with listen(Address(host, port)) as listening, temporary_uploads() as uploads:
        address = Address(host, listening.getsockname()[1])
        say(f"loading {spoken(chosen)}")
        choose_device(device)

        from faceverif.app.matcher import Matcher

        matcher = Matcher.load(chosen, preprocess=preprocess, output=output)

        from faceverif.app.server import serve
        from faceverif.app.visits import Visits

        shown_runs = runs or (_USUAL_RUNS if _USUAL_RUNS.is_dir() else "")
        visits = Visits(
            matcher, gallery=str(gallery or ""), runs=str(shown_runs), own_machine=address.own_machine
        )
        line = f"faceverif app: {address.url} (Ctrl-C ends it)"
        serve(visits, listening, uploads=uploads, ready=lambda _: say(line))
    say("ended; nothing was kept")
