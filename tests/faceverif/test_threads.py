"""OpenMP's threads sleep while they wait, unless the user says otherwise."""

from __future__ import annotations

import os

import pytest

from faceverif.cli.threads import let_threads_sleep

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "")  # so that it is put back afterwards
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_threads_sleep_where_nothing_is_set() -> None:
    let_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("name", VARIABLES)
def test_what_the_user_has_set_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "0")
    let_threads_sleep()
    assert {each: os.environ[each] for each in VARIABLES if each in os.environ} == {name: "0"}
