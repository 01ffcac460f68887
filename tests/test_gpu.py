"""A GPU gives what the CPU gives; the same check, with speeds, is `benchmarks/gpu.py`."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

BENCHMARK = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "gpu.py"), run_name="gpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_the_processor_and_the_gpu_agree() -> None:
    try:
        rows, agrees = BENCHMARK["same_results"]("cuda", BENCHMARK["TINY"])
    finally:
        BENCHMARK["choose_device"]("auto")
    assert agrees, rows


@pytest.mark.parametrize(
    ("card", "peak"), [("NVIDIA H100 PCIe", 756.0), ("NVIDIA H100 80GB HBM3", 989.4), ("NVIDIA L4", 121.0)]
)
def test_a_share_is_of_the_cards_own_peak(monkeypatch: pytest.MonkeyPatch, card: str, peak: float) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: card)
    text = BENCHMARK["share_of_peak"](peak * 1e12 / 2, torch.device("cuda:0"))
    assert text.endswith(", 50.0 %")


def test_a_measurement_that_fails_does_not_cost_the_others() -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure\nand more")

    row = BENCHMARK["measured"]("PGD", 8, fail, BENCHMARK["TINY"])
    assert row.columns == ("failed: CUDA error: unspecified launch failure", "", "")
