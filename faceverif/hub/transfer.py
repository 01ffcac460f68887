"""Push a model with its card, and pull one; the hub's address and token are those of huggingface_hub."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi

from data_prep.atomic import folder_whole, refuse_file, write_text
from data_prep.errors import InputError, first_line
from data_prep.progress import say
from faceverif.exporting.card import folder_card, is_card_of
from faceverif.exporting.request import CARD_NAME
from faceverif.models import MODEL_NAME, load_model
from faceverif.models.location import is_onnx, model_file_of
from faceverif.models.onnx_graph import external_names, model_sha256, read_graph
from faceverif.verification.calibration import calibration_file, load_calibration


def push(model: Path, repo: str, *, private: bool) -> str:
    """Upload a model with its thresholds and its card; a repository that is there gets a new commit.

    Args:
        model: the folder of a run or of an imported model, or an .onnx file by `faceverif export`.
        repo: OWNER/NAME.
        private: whether a new repository is hidden from others.

    Returns:
        its address.

    Raises:
        InputError: no model, an .onnx file without its card or its external data, thresholds of another
            model, or the hub does not take it.
    """
    with TemporaryDirectory() as place:
        files = Path(place)
        _collect(model, repo, files)
        with _asking("REPO", repo):
            api = HfApi()
            api.create_repo(repo, private=private, exist_ok=True)
            found = api.upload_folder(
                repo_id=repo, folder_path=files, commit_message="Model and card, by faceverif hub push"
            )
    return str(found.commit_url)


def pull(repo: str, out: Path, *, revision: str | None) -> Path:
    """Download a model that `push` has uploaded, or any .onnx file, into a new folder.

    Args:
        repo: OWNER/NAME.
        out: a folder that is not there yet, or empty; nothing is left there if this fails.
        revision: a branch, tag or commit; None: the newest.

    Returns:
        what commands take as --model.

    Raises:
        InputError: OUT holds something, the hub does not give it, it holds no model, or a damaged one.
    """
    if out.is_dir() and any(out.iterdir()):
        raise InputError("OUT", "must be a new or empty folder", got=out, fix="Name another one.")
    refuse_file(out.parent, option="OUT")
    with folder_whole(out) as unfinished:
        with _asking("REPO", repo):
            about = HfApi().model_info(repo, revision=revision)
        there = {file.rfilename for file in about.siblings or ()}
        name = _model_among(there, repo)
        wanted = {name, CARD_NAME, calibration_file(Path(name)).as_posix()}
        _download(repo, wanted & there, commit=about.sha, into=unfinished)
        with _whole_model(name, repo):
            if is_onnx(Path(name)):
                data = {(Path(name).parent / each).as_posix() for each in external_names(unfinished / name)}
                _download(repo, data & there, commit=about.sha, into=unfinished)
                read_graph(unfinished / name)
            else:
                load_model(unfinished / name)
        shutil.rmtree(unfinished / ".cache", ignore_errors=True)  # the hub's own notes
    return out if name == MODEL_NAME else out / name


def _download(repo: str, names: Collection[str], *, commit: str | None, into: Path) -> None:
    if not names:  # no pattern would mean every file
        return
    with _asking("REPO", repo):
        HfApi().snapshot_download(
            repo,
            revision=commit,
            local_dir=into,
            allow_patterns=[escape(name) for name in sorted(names)],
            max_workers=2,
        )


def _collect(model: Path, repo: str, place: Path) -> None:
    """Copy what is uploaded into a folder of its own, so that nothing else of a run leaves the machine."""
    file = model_file_of(model, field="MODEL")
    loaded = None if is_onnx(file) else load_model(file, field="MODEL")
    external = read_graph(file) if loaded is None else []
    sha256 = model_sha256(file, external) if loaded is None else loaded.sha256
    for each in (file, *external):
        copy = place / each.relative_to(file.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(each, copy)
    if calibration_file(model).is_file():
        load_calibration(model, model_sha256=sha256)  # others would be refused where they are pulled
        shutil.copy(calibration_file(model), place)
    card = file.parent / CARD_NAME
    if card.is_file() and is_card_of(_text(card), file=file.name, sha256=sha256):
        shutil.copy(card, place)
    elif loaded is None:
        fix = "`faceverif export` writes a file with its card. One of your own opens with the hub's header."
        raise InputError("MODEL", f"must have its card, {CARD_NAME}, beside it", got=_other(card), fix=fix)
    else:
        if card.is_file():
            say(f"note: {card} is no card of this model; another one is made and pushed")
        write_text(place / CARD_NAME, folder_card(file.parent, loaded, repo=repo))


def _text(card: Path) -> str:
    return card.read_text(encoding="utf-8", errors="replace")


def _other(card: Path) -> str:
    return f"{card}, which is of another file or no card" if card.is_file() else f"no {card}"


def _model_among(names: Collection[str], repo: str) -> str:
    """The model among a repository's files: the top folder's, or else the only .onnx file anywhere."""
    if MODEL_NAME in names:
        return MODEL_NAME
    graphs = sorted(name for name in names if is_onnx(Path(name)))
    found = [name for name in graphs if "/" not in name] or graphs
    if len(found) != 1:
        raise InputError(
            "REPO",
            f"must hold a {MODEL_NAME} or one .onnx file",
            got=f"{repo} with {', '.join(found) or 'neither'}",
            fix="Name a repository that `faceverif hub push` has filled, or download the file by hand.",
        )
    return found[0]


@contextmanager
def _whole_model(name: str, repo: str) -> Iterator[None]:
    """Tell what is wrong with a download without the place where it was, which nobody will find again."""
    try:
        yield
    except InputError as error:
        if error.field == "REPO":
            raise
        raise InputError(
            "REPO",
            "must hold a whole model that this version of faceverif can load",
            got=f"{repo}, whose {name} {error.rule.removeprefix(f'{Path(name).name} ')}",
            fix="Pull it again; if that does not help, push it again.",
        ) from error


@contextmanager
def _asking(field: str, repo: str) -> Iterator[None]:
    """Tell in one line what the hub refuses; its library has many errors, which all mean that."""
    try:
        yield
    except Exception as error:
        raise InputError(
            field,
            "must be a repository that the hub lets you use",
            got=f"{repo} ({first_line(error)})",
            fix="Check the name and the network; `hf auth login` tells the hub who you are.",
        ) from error
