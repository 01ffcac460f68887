"""The section of a config that says against which changes a model is trained."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from faceverif.config.section import Count, NotNegative, Positive, Section, broken_rule
from faceverif.perturbation.norm import Norm

_STEPS = {"fgsm_rs": 1, "pgd": 7, "trades": 10, "ibp": 0}
_STEP_OF_FGSM = 1.25
_PATH = 2.5
# Of noise: nothing is left of pixels in [0, 1] under more.
LARGEST_SD = 10.0


class AdversarialConfig(Section):
    """Each batch is changed so that the model errs, and the model learns from that.

    After every epoch, accuracy under one step and under ten is measured and logged beside the clean one.

    Attributes:
        attack: fgsm_rs, one step from a random start (Wong et al., "Fast Is Better Than Free", 2020); pgd,
            many steps (Madry et al., 2018); trades, which keeps the objective on clean pictures and adds how
            far a change moves the output (Zhang et al., 2019); ibp, no attack but interval bounds of every
            layer, which count the worst that any change could do (Gowal et al., 2018), for images.
        norm: of a change.
        epsilon: largest change, for pixels in [0, 1].
        steps: of the attack on a batch; null: 7 for pgd, 10 for trades. fgsm_rs makes one.
        step: length of a step, in shares of epsilon; null: 1.25 for fgsm_rs, 2.5 / steps for the others.
        warmup_epochs: fractions too, over which epsilon grows from nothing. Large epsilons need it.
        beta: trades: weight of the added term, whose mean over the batch counts; null: 6.
        compare: what a change moves. probabilities, only with trades: KL divergence of the classes;
            embeddings: 1 - cosine to the clean embedding, for models that compare faces. null: probabilities
            for trades; for the others the cross entropy of the true class.
    """

    attack: Literal["fgsm_rs", "pgd", "trades", "ibp"]
    norm: Norm = "linf"
    epsilon: Positive
    steps: Count | None = None
    step: Positive | None = None
    warmup_epochs: NotNegative = 0.0
    beta: Positive | None = None
    compare: Literal["probabilities", "embeddings"] | None = None

    @model_validator(mode="after")
    def _fits_the_attack(self) -> AdversarialConfig:
        if self.norm == "linf" and self.epsilon > 1:
            raise broken_rule(
                "epsilon", "must be at most 1 with linf: pixels lie in [0, 1]", got=self.epsilon
            )
        if self.attack == "fgsm_rs" and self.steps not in (None, 1):
            raise broken_rule("steps", "must be 1 with fgsm_rs; pgd makes several", got=self.steps)
        if self.attack == "ibp":
            if self.norm != "linf":
                raise broken_rule("norm", "must be linf with ibp, which bounds every pixel", got=self.norm)
            for key in ("steps", "step"):
                if getattr(self, key) is not None:
                    raise broken_rule(key, "is for attacks, and ibp is none", got=getattr(self, key))
        self._fits_the_comparison()
        return self

    def _fits_the_comparison(self) -> None:
        if self.attack != "trades" and self.beta is not None:
            raise broken_rule("beta", f"is for trades, not for {self.attack}", got=self.beta)
        if self.attack == "ibp" and self.compare is not None:
            raise broken_rule("compare", "is for attacks, and ibp is none", got=self.compare)
        if self.attack in ("fgsm_rs", "pgd") and self.compare == "probabilities":
            rule = f"must be embeddings, or left out, with {self.attack}: only trades compares probabilities"
            raise broken_rule("compare", rule, got="probabilities")

    @property
    def inner_steps(self) -> int:
        """Steps of the attack on a batch."""
        return self.steps or _STEPS[self.attack]

    @property
    def step_share(self) -> float:
        """Length of a step, in shares of epsilon."""
        if self.step is not None:
            return self.step
        return _STEP_OF_FGSM if self.attack == "fgsm_rs" else _PATH / self.inner_steps


class PerturbedTrainingConfig(Section):
    """What a training does to its pictures so that the model withstands small changes.

    Attributes:
        adversarial: train against an attack; null: on clean pictures.
        noise: standard deviation of Gaussian noise on every pixel in [0, 1], not clipped; a certificate by
            `faceverif certify` needs a model that was trained with it. Not together with adversarial.
    """

    adversarial: AdversarialConfig | None = None
    noise: NotNegative = 0.0

    @model_validator(mode="after")
    def _noise_or_attack(self) -> Self:
        if self.noise > LARGEST_SD:
            raise broken_rule(
                "noise", f"must be at most {LARGEST_SD:g}, for pixels in [0, 1]", got=self.noise
            )
        if self.noise and self.adversarial is not None:
            raise broken_rule("noise", "must be 0 in adversarial training", got=self.noise)
        return self
