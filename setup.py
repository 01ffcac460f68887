"""The build copies the configs into the package, as faceverif/configs; the rest is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """In a checkout the configs lie at the top, where people read and copy them."""

    def run(self) -> None:
        """Build the packages, and put the configs beside them."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "faceverif" / "configs"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(Path(__file__).parent / "configs", target)


setup(cmdclass={"build_py": BuildWithConfigs})
