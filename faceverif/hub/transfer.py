"""Push a model with its card, and pull one; the hub's address and token are those of huggingface_hub."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi

from data_prep.atomic import folder_whole, make_folder, write_text
from data_prep.errors import InputError, first_line
from faceverif.exporting.card import folder_card
from faceverif.models import MODEL_NAME, load_model
from faceverif.models.location import is_onnx, model_file_of
from faceverif.verification.calibration import CALIBRATION_NAME, calibration_file

CARD_NAME = "README.md"
PATTERNS = [MODEL_NAME, CALIBRATION_NAME, CARD_NAME, "*.onnx", f"*.{CALIBRATION_NAME}"]


def push(model: Path, repo: str, *, private: bool) -> str:
    """Upload a model with its thresholds and its card; a repository that is there gets a new commit.

    Args:
        model: the folder of a run or of an imported model, or an .onnx file by `faceverif export`.
        repo: OWNER/NAME.
        private: whether a new repository is hidden from others.

    Returns:
        its address.

    Raises:
        InputError: no model, an .onnx file without a card, or the hub does not take it.
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
    make_folder(out.parent, option="OUT")
    with folder_whole(out) as unfinished:
        with _asking("REPO", repo):
            HfApi().snapshot_download(
                repo, revision=revision, local_dir=unfinished, allow_patterns=PATTERNS, max_workers=2
            )
        shutil.rmtree(unfinished / ".cache", ignore_errors=True)  # the hub's own notes
        name = _model_in(unfinished, repo)
    return out if name == MODEL_NAME else out / name


def _collect(model: Path, repo: str, place: Path) -> None:
    """Copy what is uploaded into a folder of its own, so that nothing else of a run leaves the machine."""
    file = model_file_of(model)
    shutil.copy(file, place)
    if calibration_file(model).is_file():
        shutil.copy(calibration_file(model), place)
    card = file.parent / CARD_NAME
    if card.is_file():
        shutil.copy(card, place)
    elif is_onnx(file):
        fix = "Write the file with `faceverif export`, which writes a card, or add one."
        raise InputError("MODEL", f"must have a {CARD_NAME} beside it", got=file, fix=fix)
    else:
        write_text(place / CARD_NAME, folder_card(file.parent, load_model(file, field="MODEL"), repo=repo))


def _model_in(folder: Path, repo: str) -> str:
    found = [MODEL_NAME] if (folder / MODEL_NAME).is_file() else sorted(p.name for p in folder.glob("*.onnx"))
    if len(found) != 1:
        raise InputError(
            "REPO",
            f"must hold a {MODEL_NAME} or one .onnx file",
            got=f"{repo} with {', '.join(found) or 'neither'}",
            fix="Name a repository that `faceverif hub push` has filled, or download the file by hand.",
        )
    if found[0] == MODEL_NAME:
        _refuse_damaged(folder / MODEL_NAME, repo)
    return found[0]


def _refuse_damaged(file: Path, repo: str) -> None:
    try:
        load_model(file)
    except InputError as error:  # which names a place that nobody will find again
        raise InputError(
            "REPO",
            "must hold a whole model of this version of faceverif",
            got=f"{repo} with another {MODEL_NAME}",
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
