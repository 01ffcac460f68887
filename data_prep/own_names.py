"""Hidden files that this project leaves in folders of photos. No reader counts them, not even as skipped."""

from __future__ import annotations

LOCK_NAME = ".lock"
SYNTHETIC_MARK = ".synthetic.json"
PACK_MEMORY = ".faceverif.json"
SHARED_MARK = ".faceverif-shared-"  # how the name begins of what all nodes of a cluster must see


def is_own(name: str) -> bool:
    """Whether a file of that name is one of these."""
    known = name in (LOCK_NAME, SYNTHETIC_MARK) or name.endswith(PACK_MEMORY)
    return known or name.startswith(SHARED_MARK)
