"""The kinds of training that tables can be made of. A new one is a file and a line here."""

from __future__ import annotations

from typing import Any

from faceverif.experiment.faces import FaceTask
from faceverif.experiment.images import ImageTask
from faceverif.experiment.task import Task

TASKS: dict[str, Task[Any]] = {"images": ImageTask(), "faces": FaceTask()}
