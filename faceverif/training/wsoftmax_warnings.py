"""W-Softmax's second minimum, embeddings opposite to all class weights: what is logged and warned of.

See `faceverif.heads.wsoftmax` for the minimum itself.
"""

from __future__ import annotations

from data_prep.progress import say
from faceverif.config.heads import WSoftmaxConfig
from faceverif.config.objective import ObjectiveConfig
from faceverif.report.numbers import percent

# Share of the samples: a few opposite ones are outliers, more are on their way to the minimum.
_TOLERATED = 0.01
_REASON = "its loss is near zero for an embedding opposite to all class weights, whatever the label"
_FIX = (
    "Batch normalisation without offset behind the embedding layer rules that out: last_layers: prelu_norm "
    "of lsoftmax_net, lsoftmax_face and sphereface, or the backbone iresnet with last_norm: plain."
)
_WHERE_RAW = ("on a raw embedding", "trainings end there")
_WHERE_NORMED = ("behind a batch normalisation with an offset", "an offset can move embeddings there")


class OppositeEmbeddings:
    """Watches a training for the minimum.

    Args:
        config: what is minimised.
        normed: a batch normalisation stands behind the embedding layer.
        centred: it has no offset, and nothing stands behind it: the embeddings of a batch add up to zero.

    Attributes:
        warnings: of W-Softmax on embeddings that are not centred; none where nothing speaks against the
            combination.
    """

    def __init__(self, config: ObjectiveConfig, *, normed: bool, centred: bool) -> None:
        head = config.head
        self._head, self._pulls = head.name, isinstance(head, WSoftmaxConfig) and head.alpha > 0
        self._fix = "" if centred else f" {_FIX}"
        self.warnings: list[str] = []
        if self._pulls and not centred:
            where, then = _WHERE_NORMED if normed else _WHERE_RAW
            self.warnings = [f"warning: W-Softmax {where}: {_REASON}, and {then}.{self._fix}"]

    def logged(self, means: dict[str, float]) -> dict[str, float]:
        """A row's figures; warns once where W-Softmax has too many all-negative samples.

        L-GM's row has no such share: its logits are log densities, and always negative.
        """
        share = means["all_negative"]
        if self._pulls and share > _TOLERATED:
            say(
                f"warning: {percent(share, 1)} % of the samples have negative products with all class "
                f"weights. W-Softmax does not separate them: {_REASON}.{self._fix}"
            )
            self._pulls = False
        return {key: value for key, value in means.items() if key != "all_negative" or self._head != "lgm"}
