"""How the runs of each of `kinds.RUN_KINDS` are trained and judged."""

from __future__ import annotations

from typing import Any

from faceverif.experiment.faces import FaceTask
from faceverif.experiment.images import ImageTask
from faceverif.experiment.kinds import KindName
from faceverif.experiment.task import Task

TASKS: dict[KindName, Task[Any]] = {"images": ImageTask(), "faces": FaceTask()}
