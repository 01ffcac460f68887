"""Names are compared whatever their spelling, and names of other scripts stay different."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from data_prep.errors import InputError
from data_prep.protocols.benchmarks import benchmark_named
from data_prep.protocols.columns import sides_of
from data_prep.protocols.own_lists import file_name
from data_prep.protocols.photo_sets import set_letters
from data_prep.protocols.spelling import letters
from data_prep.protocols.suite_lists import find_lists, set_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("agedb_30", "AgeDB-30"),
        ("Straße", "STRASSE"),
        ("race １", "race1"),  # full width
        ("âge", unicodedata.normalize("NFD", "Âge")),
        ("कि-ताब", "किताब"),
        ("گروه\u200cها", "گروهها"),  # an invisible joiner
    ],
)
def test_spellings_of_one_name(one: str, other: str) -> None:
    assert letters(one) == letters(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("性别1", "年龄1"), ("âge", "ge"), ("की", "कि"), ("😀1", "1"), ("\udcff1", "\udcfe1"), ("北京", "")],
)
def test_names_of_every_script_stay_different(one: str, other: str) -> None:
    assert letters(one) != letters(other)


def test_columns_of_pairs_in_another_script() -> None:
    columns = ("性别1", "性别2", "年龄1", "年龄2")
    assert sides_of("性别", columns) == ("性别1", "性别2")
    assert sides_of("年龄", columns) == ("年龄1", "年龄2")
    assert sides_of("职业", columns) is None
    assert sides_of("?", ("1", "2")) is None


def test_two_columns_of_one_spelling_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"one column for each photo of a pair; .* got 'race 1' and 'Race_1'"
    ):
        sides_of("race", ("race 1", "Race_1", "race2"))
    assert sides_of("sex", ("race 1", "Race_1", "race2", "Sex 1", "sex2")) == ("Sex 1", "sex2")


def test_a_name_that_only_contains_a_benchmarks_is_another(tmp_path: Path) -> None:
    assert benchmark_named("lfw_口罩") is benchmark_named("pairs_CALFW_修正") is None
    assert benchmark_named("pairs_CALFW") == "CALFW"
    assert file_name(tmp_path / "lfw_口罩.txt") == "lfw_口罩"
    sets = [tmp_path / "北京", tmp_path / "上海-112"]
    assert [set_letters(each) for each in sets] == ["北京", "上海"]
    assert set_of("上海", sets) == sets[1]


def test_a_set_whose_name_is_signs_alone_means_no_list(tmp_path: Path) -> None:
    sets = [tmp_path / "---", tmp_path / "___"]
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "...txt").write_text("Words about this folder.\n")
    with pytest.raises(InputError, match="must be a folder with lists of pairs"):
        find_lists(tmp_path / "suite", sets, allow_partial=False)
    assert set_of("", sets) is None
