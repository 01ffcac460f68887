"""Published verification accuracies, to stand beside ours."""

from __future__ import annotations

from typing import NamedTuple

SOURCE = (
    "Zhao et al., GSC Loss: A Gaussian Score Calibrating Loss for Deep Learning (2022), Table 5; trained on "
    "CASIA-WebFace without the people of the test sets, with the settings of ArcFace; in brackets gamma and "
    "top_c, first of LFW, CALFW and CFP-FF, then of CPLFW, CFP-FP and AgeDB-30"
)


class PublishedRow(NamedTuple):
    """A row of the paper's table.

    Attributes:
        method: with its gamma and top_c.
        percent: benchmark -> accuracy in percent, as printed.
    """

    method: str
    percent: dict[str, str]


_LEFT, _RIGHT = ("LFW", "CALFW", "CFP-FF"), ("CPLFW", "CFP-FP", "AgeDB-30")


def _row(method: str, left: str, right: str) -> PublishedRow:
    return PublishedRow(method, dict(zip((*_LEFT, *_RIGHT), (left + " " + right).split(), strict=True)))


# First what the paper quotes, from Srivastava et al. (2019), Cao et al. (2020) and Xu et al. (2021).
GSC_TABLE_5 = (
    _row("RBM (quoted)", "99.10 91.00 -", "87.10 - 91.30"),
    _row("DBM (quoted)", "99.20 92.00 -", "87.30 - 91.90"),
    _row("R&D (quoted)", "99.30 92.50 -", "87.60 - 92.10"),
    _row("ArcFace (quoted)", "99.10 89.05 -", "78.43 - 93.18"),
    _row("FAPS_C (quoted)", "99.20 89.47 -", "80.28 - 94.02"),
    _row("CosFace", "99.100 93.033 99.429", "86.783 92.871 93.167"),
    _row("CosFace + GSC (0.015, 3; 0.05, 5)", "99.217 93.267 99.300", "87.350 92.914 93.750"),
    _row("CosFace + GSC (0.025, 3; 0.01, 2)", "99.233 93.117 99.529", "87.400 93.057 93.350"),
    _row("CosFace + GSC (0.025, 2; 0.02, 2)", "99.300 92.850 99.371", "87.483 93.000 93.450"),
    _row("ArcFace", "99.200 93.300 99.414", "86.833 93.343 93.267"),
    _row("ArcFace + GSC (0.01, 3; 0.025, 3)", "99.283 93.417 99.471", "86.550 93.557 93.700"),
    _row("ArcFace + GSC (0.03, 5; 0.02, 3)", "99.250 93.350 99.529", "86.683 93.443 93.950"),
    _row("ArcFace + GSC (0.015, 2; 0.02, 2)", "99.217 93.383 99.257", "87.050 93.486 93.717"),
)
