"""How large IJB-B and IJB-C are.

Photos, IJB templates and pairs of the release that the field uses, as its evaluation logs count them
(deepinsight/insightface, pull requests 1349 and 1364, issue 2747) and as the papers state them: IJB-B has
10,270 genuine and 8,000,000 impostor pairs (Whitelam et al., 2017), IJB-C 19,557 and 15,638,932 (Maze et al.,
2018).
"""

from __future__ import annotations

from typing import NamedTuple


class IjbSize(NamedTuple):
    """The numbers of photos, of IJB templates, and of genuine and impostor pairs."""

    photos: int
    templates: int
    genuine: int
    impostors: int

    def text(self) -> str:
        """For people."""
        return (
            f"{self.photos:,} photos of {self.templates:,} IJB templates, {self.genuine:,} genuine and "
            f"{self.impostors:,} impostor pairs"
        )

    def within(self, whole: IjbSize) -> bool:
        """Whether nothing is more than in the whole."""
        return all(part <= most for part, most in zip(self, whole, strict=True))


SIZES = {
    "IJB-B": IjbSize(photos=227_630, templates=12_115, genuine=10_270, impostors=8_000_000),
    "IJB-C": IjbSize(photos=469_375, templates=23_124, genuine=19_557, impostors=15_638_932),
}
