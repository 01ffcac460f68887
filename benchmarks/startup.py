"""How long commands take to start: CPU seconds until the first line, and of what they import.

    python benchmarks/startup.py [--turns 5]
    python benchmarks/startup.py --tiny          # does it still run: one turn, without what imports PyTorch

Each is a process of its own. CPU seconds count (user and system), the best of the turns, so that other work
on the machine matters little. `import torch` alone stands beside them: it is most of what remains.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[1] / "configs/faces/celeba_cosface.yaml"
OF_DATA = ("--set", "data.path=aligned", "--set", "verification=[]")
# Up to its first line a command reads no photo, crop or model: these may be empty.
FILES = ("photos/ada/1.jpg", "aligned/manifest.parquet", "model/model.safetensors")
PAIRS = "ada/1,ada/2,1\nada/1,ada/3,1\nada/1,bob/1,0\nada/1,bob/2,0\n"
COMMANDS = {
    "--help": ("--help",),
    "align": ("align", "photos", "out"),
    "train": ("train", str(CONFIG), "--run", "run", *OF_DATA),
    "verify": ("verify", "--model", "model", "--data", "aligned", "--protocol", "pairs.csv", "--out", "r"),
}
IMPORTS = {
    "import torch": "torch",
    "what align imports": "data_prep.prepare.align_folder",
    "what train imports": "faceverif.training.loop, faceverif.training.dry_run",
    "what verify imports, with a run": "faceverif.verification.runner, faceverif.models.model_file",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=5, help="how often each is measured; the best counts")
    parser.add_argument("--tiny", action="store_true", help="one turn, without what imports PyTorch")
    options = parser.parse_args()
    python = [sys.executable, "-m", "faceverif"]
    programs = {f"faceverif {name}, first line": [*python, *words] for name, words in COMMANDS.items()}
    if not options.tiny:
        programs |= {name: [sys.executable, "-c", f"import {what}"] for name, what in IMPORTS.items()}
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch))
        turns = 1 if options.tiny else options.turns
        seconds = {name: [] for name in programs}
        for _ in range(turns):
            for name, command in programs.items():
                seconds[name].append(cpu_seconds(command, Path(scratch)))
    for name, taken in seconds.items():
        print(f"{name:36s}{min(taken):8.2f} s of CPU time")


def prepare(folder: Path) -> None:
    for name in FILES:
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    (folder / "pairs.csv").write_text(PAIRS)


def cpu_seconds(command: list[str], folder: Path) -> float:
    """CPU time of a process until it says its first line; until it ends, where it says none."""
    project = str(Path(__file__).resolve().parents[1])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": project},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        if said:
            process.kill()
    if b"must" in said:
        raise RuntimeError(f"{command}: {said.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
