"""Published verification accuracies, to stand beside ours, each with what its model was trained on."""

from __future__ import annotations

from typing import NamedTuple


class PublishedRow(NamedTuple):
    """A row of a published table.

    Attributes:
        method: as there, with its settings.
        percent: benchmark -> accuracy in percent, as printed; `-` where none is.
    """

    method: str
    percent: dict[str, str]


class PublishedTable(NamedTuple):
    """A published table, or the rows of one that were trained on the same photos.

    Attributes:
        name: in a few words.
        source: where it is.
        trained_on: the photos.
        test_people: whether the people of the test sets were left out of the training.
        rows: the methods.
    """

    name: str
    source: str
    trained_on: str
    test_people: str
    rows: tuple[PublishedRow, ...]

    @property
    def heading(self) -> str:
        """The name and the training, to stand above its rows."""
        return f"{self.name}: trained on {self.trained_on}; people of the test sets: {self.test_people}"


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

_ORDER = ("LFW", "CFP-FP", "CPLFW", "CALFW", "AgeDB-30")  # of AdaFace's README


def _adaface_row(method: str, percent: str) -> PublishedRow:
    return PublishedRow(method, {"CFP-FF": "-"} | dict(zip(_ORDER, percent.split(), strict=True)))


# Both repositories train on the pack faces_webface_112x112. It lacks three people whom CASIA-WebFace and LFW
# share; its users count about 13 more (MuggleWang/CosFace_pytorch, issue 6).
_PACK = "CASIA-WebFace as InsightFace's pack (490,623 photos of 10,572 people)"
_NOT_STATED = "not stated; the pack lacks three of LFW's people and holds others"

PUBLISHED = (
    PublishedTable(
        "GSC, Table 5",
        "Zhao et al., GSC Loss: A Gaussian Score Calibrating Loss for Deep Learning (2022), Table 5; with "
        "ArcFace's settings; in brackets gamma and top_c, first of LFW, CALFW and CFP-FF, then of CPLFW, "
        "CFP-FP and AgeDB-30; quoted rows are other papers', whose training it does not say",
        "CASIA-WebFace",
        "left out",
        GSC_TABLE_5,
    ),
    PublishedTable(
        "AdaFace's repository",
        "github.com/mk-minchul/AdaFace, README.md: high quality validation sets; ArcFace's row is quoted",
        _PACK,
        _NOT_STATED,
        (
            _adaface_row("AdaFace, R18", "99.13 92.59 87.00 92.65 92.72"),
            _adaface_row("AdaFace, R50", "99.42 96.41 89.97 93.23 94.38"),
            _adaface_row("ArcFace, R50 (quoted)", "99.45 95.21 - - 94.90"),
        ),
    ),
    PublishedTable(
        "CVLface",
        "github.com/mk-minchul/CVLface, cvlface/pretrained_models/README.md",
        _PACK,
        _NOT_STATED,
        (
            _adaface_row("AdaFace, IR18", "99.22 94.93 87.00 92.65 92.68"),
            _adaface_row("AdaFace, IR50", "99.37 97.04 90.02 93.43 94.40"),
        ),
    ),
)
