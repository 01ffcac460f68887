"""faiss's flat index for large searches: it too compares everything, and does more of it in threads."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.device import computing_device

LARGE = 1_000_000_000  # comparisons; below them the copy of the gallery that faiss makes is not worth it
PROBES = 4096  # that faiss is given at once
# Probes x numbers. With fewer, faiss 1.15 compares one by one, which takes ten times as long.
_BY_PRODUCTS = 128_000


def flat_index(embeddings: NDArray[np.float32], *, probes: int) -> Any:
    """An index of a gallery; None for a search that is not large, on a GPU, or without the extra `scale`.

    It is to be given at most `PROBES` at once, in parts of one size: each then has more than half of that.

    Args:
        embeddings: (entries, dim) unit vectors.
        probes: that will be searched.
    """
    large = len(embeddings) * probes >= LARGE
    by_products = min(probes, PROBES // 2) * embeddings.shape[1] >= _BY_PRODUCTS
    if not (large and by_products) or computing_device().type != "cpu" or find_spec("faiss") is None:
        return None
    import faiss

    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    return index
