"""Commands that use a model: embed, verify, calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_prep.errors import InputError
from data_prep.progress import say
from faceverif.cli.checks import THIS_MACHINE, are_rates, can_be_file, exists, made_by
from faceverif.cli.options import (
    AllowPartial,
    DataDir,
    Device,
    Flip,
    On,
    OnnxOutput,
    OptionalModel,
    OutDir,
    PoolingName,
    Preprocess,
    chosen_model,
    engine_on,
)
from faceverif.file_names import REPORT_NAME
from faceverif.template_matching.options import DEFAULT_POOLING, Pooling
from faceverif.verification.options import (
    Score,
    VerificationOptions,
    refuse_unfitted_score,
    refuse_unused_options,
)
from faceverif.verification.quality.names import least_quality

if TYPE_CHECKING:
    from faceverif.template_matching.task import TemplateTask


def embed(
    data: DataDir,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            callback=can_be_file(".parquet"),
            help="A .parquet file, with photo, identity, status and embedding.",
        ),
    ],
    model: OptionalModel = None,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    flip: Flip = True,
    on: On = THIS_MACHINE,
    device: Device = "auto",
) -> None:
    """Embed every crop of an aligned data set."""
    from data_prep.work.here import ThisProcess
    from faceverif.models import load_embedder, refuse_options_of_onnx
    from faceverif.models.location import spoken

    engine = engine_on(on, here=ThisProcess(), device=device)
    device = "auto" if engine.outlasts else device  # of this process, which then embeds a few crops only
    chosen = chosen_model(model)
    refuse_options_of_onnx(chosen, preprocess=preprocess, output=output)
    say(f"embedding {data} with {spoken(chosen)}: {out}")
    embedder = load_embedder(chosen, preprocess=preprocess, output=output, device=device)

    from faceverif.verification.embedding_file import embed_to_file

    embed_to_file(embedder, data, out, flip=flip, engine=engine)
    typer.echo(f"embeddings: {out}")


AlignedSets = Annotated[
    list[Path],
    typer.Option(
        "--data",
        callback=made_by("faceverif align"),
        help="Folder made by `faceverif align`. For --suite: several, or a folder of several.",
    ),
]
ProtocolFile = Annotated[
    Path | None,
    typer.Option(
        "--protocol",
        callback=exists,
        help="LFW pairs.txt or pairsDevTest.txt, CFP's Split/FF or Split/FP, a .bin file, the list of CALFW, "
        "CPLFW, XQLFW, MLFW, SLLFW or a group of RFW (or RFW's folder txts), IJB-B's or IJB-C's folder meta, "
        "or any list with two photos and a label per line.",
    ),
]
SuiteFolder = Annotated[
    Path | None,
    typer.Option(
        "--suite",
        callback=exists,
        help="Instead of --protocol: a folder with protocols, such as those of LFW, CFP and CALFW. All "
        "that it holds are run, and a table compares the results with published numbers.",
    ),
]
SubtractMean = Annotated[
    bool, typer.Option("--subtract-mean", help="Subtract the mean embedding of the other folds first.")
]
ScoreName = Annotated[
    Score,
    typer.Option(
        "--score",
        help="How alike two embeddings are: their cosine, or their Mahalanobis distance after a PCA "
        "that is fitted on --fit, as in the L-GM paper.",
    ),
]
FittedOn = Annotated[
    Path | None,
    typer.Option(
        "--fit",
        callback=made_by("faceverif align"),
        help="For --score pca-mahalanobis: aligned photos that the model was trained on.",
    ),
]

Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--groups",
        metavar="COLUMN",
        help="Error rates of groups, by a column of the list of pairs, of --attributes or of the manifest. "
        "Numbers in bins: age:10, age:18,40 or age:q4. May be repeated.",
    ),
]
AttributesFile = Annotated[
    Path | None,
    typer.Option(
        "--attributes",
        callback=exists,
        help="For --groups: a CSV with a column photo or identity and further columns, or CelebA's "
        "list_attr_celeba.txt or LFW's lfw_attributes.txt.",
    ),
]
FarOfGroups = Annotated[
    float | None,
    typer.Option(
        "--far",
        min=0,
        max=1,
        help="For --groups and --quality: they are measured at the threshold where all pairs together "
        "have this false accept rate; default: 0.01, or 0.1 with fewer than 100 impostor pairs.",
    ),
]
Quality = Annotated[
    bool,
    typer.Option(
        "--quality",
        help="Measure how many false non-matches remain without the photos of lowest quality: by norm, "
        "detector score, size, pose and sharpness.",
    ),
]
MinQuality = Annotated[
    list[str] | None,
    typer.Option(
        "--min-quality",
        metavar="MEASURE=VALUE",
        help="Verify only the pairs whose photos both have this quality or a higher one: norm, "
        "score, eye_distance_px, frontal or sharpness. The result is called partial. May be repeated.",
    ),
]


def verify(
    data: AlignedSets,
    out: OutDir,
    model: OptionalModel = None,
    protocol: ProtocolFile = None,
    suite: SuiteFolder = None,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    flip: Flip = True,
    subtract_mean: SubtractMean = False,
    score: ScoreName = Score.COSINE,
    fit: FittedOn = None,
    pooling: PoolingName = None,
    allow_partial: AllowPartial = False,
    groups: Groups = None,
    attributes: AttributesFile = None,
    quality: Quality = False,
    min_quality: MinQuality = None,
    far: FarOfGroups = None,
    device: Device = "auto",
) -> None:
    """Verify pairs of photos by a protocol or a suite: accuracy, AUC, EER, TAR at FAR, and a report."""
    from faceverif.models import load_embedder, refuse_options_of_onnx
    from faceverif.models.location import spoken

    _refuse_unclear_task(data, protocol, suite)
    refuse_unfitted_score(score, fit, subtract_mean=subtract_mean)
    options = VerificationOptions(
        flip=flip,
        subtract_mean=subtract_mean,
        fit=fit,
        allow_partial=allow_partial,
        groups=tuple(groups or ()),
        attributes=attributes,
        quality=quality,
        far=far,
        least_quality=least_quality(min_quality or ()),
    )
    refuse_unused_options(options, suite)
    templates = _task_of_templates(data[0], protocol, options, score=score, pooling=pooling)
    if templates is None:
        _refuse_unfit_list(data[0], protocol, options)
    chosen = chosen_model(model)
    refuse_options_of_onnx(chosen, preprocess=preprocess, output=output)
    say(f"verifying {spoken(chosen)} by {protocol or suite}: {out}")
    embedder = load_embedder(chosen, preprocess=preprocess, output=output, device=device)

    from faceverif.template_matching.run import verify_templates
    from faceverif.verification.runner import verify as run_protocol
    from faceverif.verification.suite import verify_suite

    if templates is not None:
        typer.echo(verify_templates(embedder, templates, out=out).text())
    elif protocol is not None:
        typer.echo(run_protocol(embedder, data[0], protocol, out=out, options=options).text())
    elif suite is not None:
        typer.echo(verify_suite(embedder, suite, data, out=out, options=options).markdown())
    typer.echo(f"report: {out / REPORT_NAME}")


def _task_of_templates(
    data: Path, protocol: Path | None, options: VerificationOptions, *, score: Score, pooling: Pooling | None
) -> TemplateTask | None:
    """What there is to do with IJB's lists; None where the protocol is another one, or a suite is run.

    Options that do not fit are refused in either case.
    """
    from data_prep.ijb import find_ijb_files
    from faceverif.template_matching.task import TemplateTask, refuse_options_of_pairs, refuse_pooling

    lists = None if protocol is None else find_ijb_files(protocol)
    if lists is None:
        refuse_pooling(pooling)
        return None
    refuse_options_of_pairs(options, score)
    return TemplateTask.of(lists, data, pooling or DEFAULT_POOLING, options)


def _refuse_unfit_list(data: Path, protocol: Path | None, options: VerificationOptions) -> None:
    """Stop where a list of pairs, if one is given, cannot be run as the options say."""
    from data_prep.protocols import protocol_alone
    from data_prep.protocols.photo_sets import on_photos

    if protocol is not None and (options.groups or options.far is not None):
        from faceverif.verification.groups.checks import refuse_unfit_groups  # reads the data set

        refuse_unfit_groups(data, protocol, options)
    elif protocol is not None and protocol.suffix != ".bin":  # one that is large is read once, later
        on_photos(protocol_alone(protocol, allow_partial=options.allow_partial), data)


def _refuse_unclear_task(data: list[Path], protocol: Path | None, suite: Path | None) -> None:
    """Stop where it is open what is to be verified."""
    if (protocol is None) == (suite is None):
        raise InputError(
            "verify",
            "needs --protocol FILE or --suite FOLDER",
            got="neither" if protocol is None else "both",
            fix="Give one of the two.",
        )
    if protocol is not None and len(data) > 1:
        raise InputError(
            "--data", "must be one for --protocol", got=f"{len(data)} times --data", fix="Give one."
        )


def calibrate(
    data: DataDir,
    protocol: Annotated[
        Path,
        typer.Option(
            callback=exists,
            help="Pairs of --data, in any form that `verify` takes; not those of a later test.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            callback=can_be_file(".json"),
            help="The file to write, which `compare --calibration` reads; default: with the model, where "
            "`compare` looks.",
        ),
    ] = None,
    model: OptionalModel = None,
    far: Annotated[
        list[float] | None,
        typer.Option(
            "--far",
            callback=are_rates,
            help="A false accept rate to set a threshold for, beside 0.1, 0.01, 0.001 and 0.0001. It needs "
            "1 / FAR impostor pairs or more. May be repeated.",
        ),
    ] = None,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    flip: Flip = True,
    allow_partial: AllowPartial = False,
    device: Device = "auto",
) -> None:
    """Set the thresholds of any model for false accept rates, for `faceverif compare`."""
    from faceverif.models import load_embedder, refuse_options_of_onnx
    from faceverif.models.location import spoken

    options = VerificationOptions(flip=flip, allow_partial=allow_partial)
    if not model and out is None:
        fix = "Give a file that `faceverif compare --calibration` is to read: --out thresholds.json"
        raise InputError("--out", "must be given for the model of the package", got="nothing", fix=fix)
    _refuse_unfit_list(data, protocol, options)
    chosen = chosen_model(model)
    refuse_options_of_onnx(chosen, preprocess=preprocess, output=output)
    say(f"setting thresholds of {spoken(chosen)} by {protocol}")
    embedder = load_embedder(chosen, preprocess=preprocess, output=output, device=device)

    from faceverif.verification.calibrate import calibrate as set_thresholds
    from faceverif.verification.calibration import calibration_file

    path = out or calibration_file(chosen)
    found = set_thresholds(embedder, data, protocol, out=path, options=options, fars=far or ())
    typer.echo(found.text())
