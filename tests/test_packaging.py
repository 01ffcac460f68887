"""The wheel and the sdist hold what the commands need, and the wheel runs outside the checkout."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from drawn_photos import drawn_photos

from data_prep.errors import InputError
from faceverif.config.reading import read_yaml
from faceverif.models import MODEL_NAME

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("faceverif", "robustness", "data_prep", "configs")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff")
# setuptools builds without a network, and without pip's isolated environment, which needs one.
BUILD = """
import sys
from setuptools import build_meta
out = sys.argv[1]  # the builds replace sys.argv
build_meta.build_sdist(out)
build_meta.build_wheel(out)
"""

# The demo with few people, one epoch and one attack; tests/faceverif/test_demo.py looks at what it makes.
DEMO = """
from pathlib import Path
import faceverif
from faceverif.demo import FOLDS, DemoSize, People, run_demo
from faceverif.experiment.images import ImageTask
from robustness.photo_attack import impersonate
from robustness.rejection.demo_experiment import demo_rejection
from robustness.rejection.run import run_rejection

few = ("training.epochs=1", "training.batch_size=4", "training.workers=0", "backbone.width=8")
lgm = ("head={name: lgm, alpha: 0.1}", "penalties=[{name: likelihood, weight: 0.05}]")
known = (*few, *lgm, "verification=[]", "data.held_out_per_identity=2", "backbone.input_px=64")
size = DemoSize(
    training=People("training", seed=1, identities=3, photos=2),
    held_out=People("held-out", seed=2, identities=2 * FOLDS, photos=2),
    known=People("known", seed=3, identities=3, photos=4, template="arcface-64"),
    pairs_per_fold=2,
    overrides=few,
    known_overrides=known,
)
attacks = "attacks=[{name: fgsm, epsilons: [0.03]}]"
little = ("calibration=2", "rates=[0.5]", "controls.changes=[]", "detectors=[]", attacks)

def reject(run, folder):
    run_rejection(demo_rejection(run, overrides=little), folder, train=ImageTask().finish)

print(run_demo(Path("demo"), reject=reject, impersonate=impersonate, size=size))
print(faceverif.__file__)
"""


def files_of(folder: Path) -> set[str]:
    """Of what git would track, below the sources; a checkout may hold more."""
    found = subprocess.run(
        ["git", "ls-files", "--", *SOURCES], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(found.stdout.splitlines())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both, built from a copy, so that the checkout stays as it is."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing tells which files belong to the project")
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in (*files_of(ROOT), *FILES, "constraints.txt"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    subprocess.run([sys.executable, "-c", BUILD, str(out)], cwd=copy, check=True, capture_output=True)
    return out


def wanted_in_wheel() -> set[str]:
    return {f"faceverif/{name}" if name.startswith("configs/") else name for name in files_of(ROOT)}


def test_a_shipped_config_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = Path("configs/faces/celeba_cosface.yaml")
    assert read_yaml(name) == read_yaml(ROOT / name)
    name.parent.mkdir(parents=True)
    name.write_text("mine: 1\n")
    assert read_yaml(name) == {"mine": 1}
    with pytest.raises(InputError, match="there is no such file; got configs/faces/celeba_cosfac"):
        read_yaml(Path("configs/faces/celeba_cosfac.yaml"))


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages_and_the_configs(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wanted_in_wheel() - names == set()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(SOURCES) - {
        "configs"
    }


@pytest.mark.slow
def test_the_sdist_holds_them_too(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert (files_of(ROOT) | set(FILES)) - names == set()


@pytest.mark.slow
def test_the_wheel_runs_outside_the_checkout(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    place = tmp_path / "env"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # The dependencies of this environment, but not its editable faceverif: its .pth file is not read there.
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    photos = [str(path) for path in drawn_photos(tmp_path / "photos", identities=1, photos=2)]

    def python_says(*words: str) -> subprocess.CompletedProcess[str]:
        command, few = [str(python), *words], {"OMP_NUM_THREADS": "1"}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=few)

    finished = python_says("-m", "faceverif", "--version")
    assert finished.returncode == 0, finished.stderr
    demo = python_says("-c", DEMO)
    assert demo.returncode == 0, demo.stderr
    assert str(packages) in demo.stdout
    assert (tmp_path / "demo" / "report.html").is_file()
    dry = python_says(
        "-m", "faceverif", "train", "configs/faces/celeba_cosface.yaml", "--run", "r", "--dry-run"
    )
    assert "data.path: there is no such file or folder" in dry.stderr  # the config was found
    compared = python_says("-m", "faceverif", "compare", *photos)
    if (packages / "faceverif" / "models" / "shipped" / MODEL_NAME).is_file():
        assert compared.returncode == 0, compared.stderr
    else:
        assert "this installation comes without one" in compared.stderr
