"""How a loss is put together in YAML: any head x any criterion x any set of penalties.

What makes no sense together is refused here, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import model_validator

from faceverif.config.criteria import CriterionConfig, CrossEntropyConfig
from faceverif.config.heads import HeadConfig, LGMConfig, SoftmaxConfig
from faceverif.config.penalties import PenaltyConfig
from faceverif.config.section import Section, broken_rule

# What reaches the backbone without the head.
_OF_EMBEDDINGS = {"triplet", "margin", "n_pair", "proxy_nca", "contrastive", "distill", "center"}
# Of these, what leaves embeddings apart: center alone draws all of them to one point.
_APART = _OF_EMBEDDINGS - {"center"}
# What has no gradient but that of the embeddings and of its own parameters.
_OF_EMBEDDINGS_ALONE = _OF_EMBEDDINGS | {"magnitude"}


class ObjectiveConfig(Section):
    """Head, criterion and penalties: what is minimised.

    Attributes:
        head: the class centres and the logits that they give.
        criterion: the loss of each sample, from its logits and label.
        penalties: terms that are added to the loss.
    """

    embeddings_learn: ClassVar[bool] = True  # False: they are computed once, and the head alone learns

    head: HeadConfig
    criterion: CriterionConfig = CrossEntropyConfig()
    penalties: tuple[PenaltyConfig, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> ObjectiveConfig:
        names = [penalty.name for penalty in self.penalties]
        if len(set(names)) != len(names):
            repeated = next(place for place, name in enumerate(names) if name in names[:place])
            rule = "must not stand twice among the penalties; add the weights"
            raise broken_rule(f"penalties.{repeated}.name", rule, got=names[repeated])
        for place, name in enumerate(names):
            reason = self._refusal(name)
            if reason:
                raise broken_rule(f"penalties.{place}.name", reason, got=f"{name} beside {self.head.name}")
        self._refuse_idle_probe(names)
        return self

    def _refuse_idle_probe(self, penalties: Sequence[str]) -> None:
        if not self._probe:
            return
        if not self.embeddings_learn:
            rule = "must be false here, where the embeddings stay as they are anyway"
            raise broken_rule("head.probe", rule, got="true")
        if not _APART.intersection(penalties):
            rule = "leaves the backbone nothing to learn from but pair losses or distill: add one"
            given = "center, which alone draws all embeddings to one point" if penalties else "no penalties"
            raise broken_rule("head.probe", rule, got=f"true with {given}")

    @property
    def starts_from_data(self) -> bool:
        """Whether the head starts from the embeddings of a trained backbone."""
        return isinstance(self.head, LGMConfig) and self.head.means == "from_data"

    @property
    def _probe(self) -> bool:
        return isinstance(self.head, SoftmaxConfig) and self.head.probe

    def _refusal(self, penalty: str) -> str:
        """Why that penalty makes no sense beside the head; empty where it does."""
        if not self.embeddings_learn and penalty in _OF_EMBEDDINGS_ALONE:
            return f"{penalty} changes embeddings, which stay as they are here; leave it out"
        lgm = self.head.name == "lgm"
        if penalty == "likelihood" and not lgm:
            return "likelihood needs the lgm head, since no other models densities; try center"
        if penalty == "magnitude" and self.head.name != "magface":
            return (
                "magnitude needs the magface head, since no other margin depends on such a range of lengths"
            )
        if penalty == "center" and lgm:
            return "center doubles the likelihood of the lgm head; use likelihood"
        if penalty == "mhe" and lgm:
            return "mhe spreads directions of class weights, and the means of lgm are places"
        if penalty not in _OF_EMBEDDINGS and self._probe:
            return "only pair losses, center and distill reach the backbone with head.probe; leave it out"
        return ""
