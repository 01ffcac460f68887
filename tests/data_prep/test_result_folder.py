"""No command writes its results among photos; a folder that it filled before is taken again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.dataset.manifest import JOURNAL_NAME
from data_prep.errors import InputError
from data_prep.own_names import LOCK_NAME, SYNTHETIC_MARK
from data_prep.result_folder import refuse_photos


def touched(*names: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()

    return write


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (touched("1.JPG"), r"a folder of photos, such as .*1\.JPG"),
        (touched("notes.txt", "Ann/1.png"), r"such as .*Ann/1\.png"),
        (touched("manifest.parquet", "crops/1.jpg"), "an aligned data set"),
        (touched(LOCK_NAME, "manifest.parquet"), "an aligned data set"),  # by `align`, whose lock stays
        (touched(LOCK_NAME, JOURNAL_NAME, "crops/Ann/1.jpg"), "an alignment that was begun"),
        (touched(LOCK_NAME, SYNTHETIC_MARK, "person-0001/01.jpg"), "photos made by `faceverif synthesise`"),
    ],
)
def test_a_folder_of_photos_takes_no_results(fill: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    fill(tmp_path)
    with pytest.raises(InputError, match=f"^--run: must not be a folder of photos or crops.*{said}"):
        refuse_photos(tmp_path, option="--run")


@pytest.mark.parametrize(
    "fill",
    [
        touched(),
        touched("notes.txt", "config.yaml"),
        touched(LOCK_NAME, "attacked.png"),  # of an earlier command
        touched("result.json", "figures/roc.png", "figures/pairs/1.jpg"),  # copied without hidden files
        touched("first/result.json", "second/model.safetensors"),
    ],
)
def test_other_folders_do(fill: Callable[[Path], None], tmp_path: Path) -> None:
    fill(tmp_path)
    refuse_photos(tmp_path)
    refuse_photos(tmp_path / "new" / "deeper")
