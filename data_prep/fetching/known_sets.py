"""The field's data sets: what a whole copy holds, where it comes from and on what terms.

Addresses and checksums are those that public code or the authors' pages name; what is not known says so. The
addresses were not visited when they were collected, so any of them may have moved.
"""

from __future__ import annotations

from dataclasses import dataclass

from data_prep.errors import InputError

UNKNOWN = "unknown"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a set.

    Attributes:
        name: what it is called.
        address: where a program can fetch it; None where it needs a browser or a request.
        checksum: `sha256:...` or `md5:...`; None where none is known.
        size_bytes: None where it is not known.
        folder: the one folder that an archive holds; None for a file that is no archive.
        source: who names the checksum.
    """

    name: str
    address: str | None
    checksum: str | None
    source: str
    size_bytes: int | None = None
    folder: str | None = None


@dataclass(frozen=True)
class KnownSet:
    """A data set of the field.

    Attributes:
        name: for the command line.
        title: for people, with the paper.
        page: the authors'.
        terms: licence or terms of use, as far as known.
        photos: of a whole copy; None where it is not counted here.
        identities: likewise.
        files: what it consists of.
        request: how to come by it, where no program can; None where the files can be fetched.
    """

    name: str
    title: str
    page: str
    terms: str
    photos: int | None = None
    identities: int | None = None
    files: tuple[RemoteFile, ...] = ()
    request: str | None = None

    def size_text(self) -> str:
        """How large a whole copy is."""
        return f"{self.photos:,} photos of {self.identities:,} people"


_TORCHVISION = "torchvision 0.29"
_SKLEARN = "scikit-learn 1.9"
_FIGSHARE = "https://ndownloader.figshare.com/files/"
_BY_HAND = "The page links file shares for a browser; no address for a program is known."
_FETCHED_BY_OTHERS = "public code that fetches it; the authors publish none"

_LFW_FILES = (
    RemoteFile(
        "lfw-deepfunneled.tgz",
        "http://vis-www.cs.umass.edu/lfw/lfw-deepfunneled.tgz",
        "md5:68331da3eb755a505a502b5aacb3c201",
        f"{_TORCHVISION}, which no longer fetches it itself: the server may not answer",
        folder="lfw-deepfunneled",
    ),
    RemoteFile(
        "pairs.txt",
        f"{_FIGSHARE}5976006",
        "sha256:ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592",
        _SKLEARN,
        size_bytes=155_335,
    ),
    RemoteFile(
        "pairsDevTrain.txt",
        f"{_FIGSHARE}5976012",
        "sha256:1d454dada7dfeca0e7eab6f65dc4e97a6312d44cf142207be28d688be92aabfa",
        _SKLEARN,
        size_bytes=56_579,
    ),
    RemoteFile(
        "pairsDevTest.txt",
        f"{_FIGSHARE}5976009",
        "sha256:7cb06600ea8b2814ac26e946201cdb304296262aad67d046a16a7ec85d0ff87c",
        _SKLEARN,
        size_bytes=26_002,
    ),
)

LFW = KnownSet(
    "lfw",
    "Labeled Faces in the Wild, deep-funneled (Huang et al. 2007, 2012)",
    "http://vis-www.cs.umass.edu/lfw/",
    f"{UNKNOWN}; news photos, whose rights are their owners'",
    photos=13_233,
    identities=5_749,
    files=_LFW_FILES,
)
CFP = KnownSet(
    "cfp",
    "Celebrities in Frontal-Profile (Sengupta et al. 2016)",
    "http://www.cfpw.io/",
    UNKNOWN,
    photos=7_000,
    identities=500,
    files=(
        RemoteFile(
            "cfp-dataset.zip",
            "http://www.cfpw.io/cfp-dataset.zip",
            "sha256:666b87635e6af028177ac72a85f03099fac263baf09c21f333fa445f930f65b1",
            _FETCHED_BY_OTHERS,
            size_bytes=86_312_557,
            folder="cfp-dataset",
        ),
    ),
)
CASIA = KnownSet(
    "casia-webface",
    "CASIA-WebFace (Yi et al. 2014, arXiv 1411.7923)",
    "http://www.cbsr.ia.ac.cn/english/CASIA-WebFace-Database.html",
    "research only, by the authors' agreement",
    photos=494_414,
    identities=10_575,
    request="The authors hand it out on request, for a signed agreement: see the page.",
)
# The pack as train.rec, 112 x 112: counted by those who unpacked it; its `property` says 10572,112,112.
CASIA_PACK = KnownSet(
    "casia-webface-112",
    "CASIA-WebFace as InsightFace's train.rec",
    CASIA.page,
    CASIA.terms,
    photos=490_623,
    identities=10_572,
    request=CASIA.request,
)
CELEBA = KnownSet(
    "celeba",
    "CelebA (Liu et al. 2015)",
    "http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    "non-commercial research only; not to be copied on; identities upon request (the authors' agreement)",
    photos=202_599,
    identities=10_177,
    files=(
        RemoteFile("img_align_celeba.zip", None, "md5:00d2c5bc6d35e252742224ab0c1e8fcb", _TORCHVISION),
        RemoteFile("identity_CelebA.txt", None, "md5:32bd1bd63d3c78cd57e08160ec5ed1e2", _TORCHVISION),
    ),
    request=f"{_BY_HAND} The identities are the authors' to give: write to them.",
)

_XQLFW_RELEASE = "https://github.com/Martlgap/xqlfw/releases/download/1.0/"
XQLFW = KnownSet(
    "xqlfw",
    "Cross-Quality LFW (Knoche et al. 2021), 6,000 pairs",
    "https://martlgap.github.io/xqlfw/",
    f"{UNKNOWN}; LFW's photos, some of them degraded",
    photos=13_233,
    identities=5_749,
    files=(
        RemoteFile(
            "xqlfw.zip",
            f"{_XQLFW_RELEASE}xqlfw.zip",
            "sha256:1af459679fba23a12f4d83c82a81523eb930a4aec759eebefcbdde69a678962c",
            _FETCHED_BY_OTHERS,
            size_bytes=195_229_543,
            folder="lfw_original_imgs_min_qual0.85variant11",
        ),
        RemoteFile(
            "xqlfw_pairs.txt",
            f"{_XQLFW_RELEASE}xqlfw_pairs.txt",
            "sha256:636852f90b886f3f56c73b13c9775f7ffcd37662dbb189c694f6a0a605b63b84",
            _FETCHED_BY_OTHERS,
            size_bytes=160_795,
        ),
    ),
)
SLLFW = KnownSet(
    "sllfw",
    "Similar-looking LFW, first called FGLFW (Deng et al. 2017): 6,000 pairs of LFW's photos",
    "http://www.whdeng.cn/SLLFW/index.html",
    f"{UNKNOWN}; the list alone, its photos are LFW's",
    files=(
        RemoteFile(
            "pair_SLLFW.txt", "http://whdeng.cn/SLLFW/pair_SLLFW.txt", None, "public code that links it"
        ),
    ),
)

KNOWN_SETS: dict[str, KnownSet] = {
    known.name: known
    for known in (
        LFW,
        CFP,
        KnownSet(
            "agedb",
            "AgeDB (Moschoglou et al. 2017); AgeDB-30 is its protocol of 6,000 pairs",
            "https://ibug.doc.ic.ac.uk/resources/agedb/",
            "non-commercial research",
            request="The archive is locked: ask the contact on the page for the password, from an academic "
            "address.",
        ),
        KnownSet(
            "calfw",
            "Cross-Age LFW (Zheng et al. 2017), 6,000 pairs",
            "http://whdeng.cn/CALFW/index.html",
            UNKNOWN,
            request=_BY_HAND,
        ),
        KnownSet(
            "cplfw",
            "Cross-Pose LFW (Zheng & Deng 2018), 6,000 pairs",
            "http://whdeng.cn/CPLFW/index.html",
            UNKNOWN,
            request=_BY_HAND,
        ),
        XQLFW,
        SLLFW,
        KnownSet(
            "mlfw",
            "Masked LFW (Wang et al. 2021): 6,000 pairs of CALFW's photos with masks drawn on them",
            "http://whdeng.cn/mlfw/",
            UNKNOWN,
            request=_BY_HAND,
        ),
        KnownSet(
            "talfw",
            "Transferable Adversarial LFW (Zhong & Deng 2020): LFW's photos under attack, for LFW's pairs",
            "https://arxiv.org/abs/2004.05790",
            UNKNOWN,
            request="The paper says where the photos are. There is no list: use LFW's pairs.txt.",
        ),
        KnownSet(
            "rfw",
            "Racial Faces in-the-Wild (Wang et al. 2019): four groups of 6,000 pairs each",
            "http://whdeng.cn/RFW/testing.html",
            "non-commercial research, by the authors' agreement",
            request="The authors hand it out on request, by mail from an academic address: see the page.",
        ),
        CASIA,
        CELEBA,
    )
}


def find_known_set(name: str) -> KnownSet:
    """The set of that name.

    Raises:
        InputError: no set is called so.
    """
    if name not in KNOWN_SETS:
        raise InputError(
            "NAME", "must be a known data set", got=name, fix=f"Use one of: {', '.join(KNOWN_SETS)}."
        )
    return KNOWN_SETS[name]
