"""How a loss is put together in YAML: any head x any criterion x any set of penalties.

What makes no sense together is refused here, with the reason.
"""

from __future__ import annotations

from pydantic import model_validator

from faceverif.config.criteria import CriterionConfig, CrossEntropyConfig
from faceverif.config.heads import HeadConfig, LGMConfig, SoftmaxConfig
from faceverif.config.penalties import PenaltyConfig
from faceverif.config.section import Section, broken_rule

# What reaches the backbone without the head.
_OF_EMBEDDINGS = {"triplet", "margin", "n_pair", "proxy_nca", "contrastive", "distill"}


class ObjectiveConfig(Section):
    """Head, criterion and penalties: what is minimised.

    Attributes:
        head: the class centres and the logits that they give.
        criterion: the loss of each sample, from its logits and label.
        penalties: terms that are added to the loss.
    """

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
        if self._probe and not names:
            rule = "leaves the backbone nothing to learn from but pair losses or distill: add one"
            raise broken_rule("head.probe", rule, got="true without penalties")
        return self

    @property
    def starts_from_data(self) -> bool:
        """Whether the head starts from the embeddings of a trained backbone."""
        return isinstance(self.head, LGMConfig) and self.head.means == "from_data"

    @property
    def _probe(self) -> bool:
        return isinstance(self.head, SoftmaxConfig) and self.head.probe

    def _refusal(self, penalty: str) -> str:
        """Why that penalty makes no sense beside the head; empty where it does."""
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
            return "only pair losses and distill reach the backbone with head.probe; leave the others out"
        return ""
