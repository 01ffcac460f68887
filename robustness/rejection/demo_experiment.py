"""The rejection part of the demo: one run's model under attack."""

from __future__ import annotations

import json
from pathlib import Path

from faceverif.config.reading import load_config
from robustness.rejection.config import RejectionConfig

CONFIG = Path(__file__).with_name("demo_experiment.yaml")


def demo_rejection(run: Path, *, overrides: tuple[str, ...] = ()) -> RejectionConfig:
    """The experiment on a run of the demo.

    Args:
        run: the finished face run that is attacked.
        overrides: of demo_experiment.yaml, as for `faceverif reject --set`.
    """
    # JSON is YAML with every odd character of a path in quotes.
    return load_config(RejectionConfig, CONFIG, [f"models.0.runs={json.dumps([str(run)])}", *overrides])
