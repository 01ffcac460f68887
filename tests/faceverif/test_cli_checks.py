"""Wrong paths, options and configs are reported before torch is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from faceverif.cli.app import GROUPS, all_commands, command_line

Ended = tuple[int, str, str, list[str]]  # exit code, output, errors, heavy modules

TABLE = """
name: t
title: t
metric: error
baseline: a
task: images
common:
  data: {name: mnist, path: nowhere}
  network: {name: six_conv, embedding_dim: 2}
  head: {name: softmax}
  optimizer: {name: sgd, learning_rate: 0.1}
  schedule: {name: cosine}
  training: {epochs: 1}
methods: [{name: a, seeds: [0]}]
"""
RUN = """
data: {path: nowhere}
backbone: {name: mobilefacenet, embedding_dim: 16, input_px: 32}
head: {name: cosface}
optimizer: {name: sgd, learning_rate: 0.1}
schedule: {name: cosine}
training: {epochs: 1}
"""
IMAGES = TABLE.partition("common:")[2].partition("methods:")[0].replace("\n  ", "\n")
REJECTION = f"""
name: r
title: r
calibration: 99
training: {{{", ".join(IMAGES.strip().splitlines())}}}
models: [{{name: a, settings: {{}}, detector: energy}}]
attacks: [{{name: pgd, epsilons: [0.1]}}]
"""
RUNS = REJECTION.replace("settings: {}", "runs: ['no']")
# Runs commands as the console script does: exit code, output, errors and heavy modules of each, as JSON.
PROGRAM = """
import contextlib, io, json, sys
from faceverif.cli import main
ended = []
for arguments in json.loads(sys.stdin.read()):
    sys.argv = ["faceverif", *arguments]
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code
    heavy = {"torch", "torchvision", "matplotlib", "onnxruntime", "sklearn", "ray"} & set(sys.modules)
    ended.append([code, out.getvalue(), errors.getvalue(), sorted(heavy)])
print(json.dumps(ended))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checks")
    texts = {"run": RUN, "images": IMAGES, "table": TABLE, "reject": REJECTION, "runs": RUNS}
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "wrong.yaml").write_text(RUN + "sed: 3\n")
    (folder / "there").mkdir()
    (folder / "cplfw").mkdir()
    (folder / "calfw.csv").write_text("left,right,same\n" + "a,b,1\na,c,0\n" * 2)
    (folder / "ijb").mkdir()
    (folder / "ijb/x_face_tid_mid.txt").write_text("1.jpg 1 1\n")
    Image.new("RGB", (30, 30)).save(folder / "photo.jpg")
    for name in (
        "file",
        "net.onnx",
        "net.pth",
        "m/model.safetensors",
        "parent/m/model.safetensors",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


WRONG = [
    ("align nowhere out", "SOURCE: there is no such file or folder; got nowhere"),
    ("align there out --template arcface-99", "template: must be a known"),
    ("align there file", "OUT: must be a folder"),
    ("align file out", "SOURCE: must be a folder or file of photos"),
    ("align there out", "SOURCE: must hold photos; got none in there"),
    ("train run.yaml --run ", 'arguments: must not be empty; got "". Is a shell variable without a value?'),
    ("train run.yml --run x", "config: there is no such file; got run.yml. There is run.yaml, runs.yaml."),
    ("train there --run x", "config: must be a YAML file; got the folder there"),
    ("train wrong.yaml --run x", "sed: is not a key of wrong.yaml; got 3. Did you mean seed?"),
    (
        "train run.yaml --run x --set head.marign=1",
        "head.marign: is not a key of head cosface in run.yaml",
    ),
    (
        "train run.yaml --run x",
        "got nowhere. `faceverif align` makes it. Paths begin in the folder that you are in, /",
    ),
    ("train run.yaml --run x --set data.path=ther", "got ther. There is there."),
    (
        "train run.yaml --run x --set data.path=there --set data.exclude=no.csv",
        "data.exclude: there is no",
    ),
    (
        "train run.yaml --run x --set data.path=there --set training.start_from=no",
        "training.start_from: ",
    ),
    (
        "train run.yaml --run x --set data.path=there "
        '--set verification=[{"name":"a","data":"there","protocol":"no"}]',
        "verification.0.protocol: there is no such file",
    ),
    ("train run.yaml --run file --set data.path=there", "--run: must be a folder"),
    ("classify images.yaml --run x", "data.path: there is no such file"),
    (
        "classify missing.yaml --run x",
        "config: there is no such file",
    ),
    ("experiment table.yaml --out x", "data.path: there is no such file"),
    (
        "experiment table.yaml --out x --set common.data.path=none",
        "--set common.data.download=true fetches it",
    ),
    ("experiment table.yaml --out x --only b", "--only: must name a method"),
    ("experiment table.yaml --out x --set common.training.epochs=0", "common.training.epochs: "),
    ("experiment table.yaml --out x --set common.sed=0", "common.sed: is not a key"),
    (
        "experiment run.yaml --out x",
        "must be a config for `faceverif experiment`; got run.yaml, which is one for `faceverif train`",
    ),
    ("train images.yaml --run x", "Give it to that command: faceverif classify images.yaml --run RUN"),
    ("train table.yaml --run x", "Give it to that command: faceverif experiment table.yaml --out OUT"),
    ("train faces/celeba_cosfac --run x", "`faceverif config list` has faces/celeba_cosface."),
    ("train faces/celeba_cosface --run x", "data.path: there is no such file or folder; got data/celeba-64"),
    ("reject nowhere.yaml --out x", "config: there is no such file"),
    ("reject run.yaml --out file", "--out: must be a folder"),
    (
        "classify images.yaml --run x --set training.noise=64",
        "training.noise: must be at most 10, for pixels",
    ),
    ("reject run.yaml --out x", "which is one for `faceverif train`"),
    ("reject reject.yaml --out x --set attacks.0.stepz=3", "attacks.0.stepz: is not a key of attacks.0 pgd"),
    ("reject reject.yaml --out x --set attacks.0.name=pdg", "attacks.0.name: "),
    ("reject reject.yaml --out x --set detectors=[lgm]", "detectors.0: must be one of 'lgm_class'"),
    ("reject reject.yaml --out x --set training.epochs=1", "epochs: is not a key of model a"),
    ("reject reject.yaml --out x --set training.data.path=no", "data.path: there is no such file"),
    (
        'reject reject.yaml --out x --set models=[{"name":"a","detector":"energy","runs":["no"]}]',
        "models.0.runs",
    ),
    ("embed --data nowhere --model m --out e.parquet", "--data: there is no such"),
    (
        "embed --data there --run nowhere --out e.parquet",
        "--model: there is no such file or folder; got nowhere. `faceverif train` or `faceverif import`",
    ),
    ("embed --data there --out e.parquet --run m --onnx m", "--model: must name one model; got m and m"),
    (
        "embed --data there --out e.parquet --model there",
        "--model: must be a folder with a model.safetensors",
    ),
    ("embed --data there --out e.parquet --model photo.jpg", "got photo.jpg. `faceverif train` or"),
    (
        "embed --data there --out e.parquet --model net.pth",
        "got net.pth. Import it first: faceverif import net.pth --out runs/imported",
    ),
    *(
        (
            f"{command} --model net.onnx",
            "--model: must be the folder of a run or of an imported model here; got net.onnx. "
            "Import it first: faceverif import net.onnx --preprocess NAME --out models/net",
        )
        for command in ("fit-head --data there --out x", "calibrate-rejection", "certify --out x")
    ),
    ("embed --data there --out e.parquet --model parent", "Name what lies in it: parent/m"),
    (
        "embed --data there --out e.parquet --model m --preprocess rgb-255",
        "--preprocess: belongs to an .onnx",
    ),
    ("align there out --detector no.onnx", "--detector: must be mtcnn, or an .onnx file of SCRFD"),
    ("align there out --detector file", "got file, with 0 outputs"),
    ("align there out --device gpu", "--device: must be auto, cpu, cuda, cuda:N or mps; got gpu"),
    ("align there out --on spark", "--on: must be this-machine or ray; got spark. Leave it out to"),
    ("verify --data nowhere --protocol file --model m --out o", "--data: there is no such"),
    ("verify --data there --data no --suite there --model m --out o", "--data: there is no such"),
    ("verify --data there --protocol nowhere --model m --out o", "--protocol: there is no such"),
    ("verify --data there --protocol run.yaml --model m --out o", "run.yaml: must be a list of pairs"),
    ("verify --data there --suite nowhere --model m --out o", "--suite: there is no such"),
    ("verify --data there --protocol ijb --model m --out o", "data: must be a folder made by"),
    ("verify --data there --protocol ijb --model m --out o --subtract-mean", "--subtract-mean: is for pairs"),
    ("verify --data there --protocol ijb --model m --out o --groups sex", "--groups: is for pairs of photos"),
    (
        "verify --data there --protocol file --model m --out o --pooling mean",
        "--pooling: is for a --protocol of IJB templates",
    ),
    ("verify --data there --protocol ijb --model m --out o --pooling median", "--pooling"),
    ("calibrate --model m --data there --protocol ijb", "ijb: must be pairs of photos here"),
    ("calibrate --data there --protocol file", "--out: must be given for the model of the package"),
    ("calibrate --data there --protocol file --out t.json --far 0.1 --far 2", "--far: must be above 0"),
    ("verify --data there --model m --out o", "verify: needs --protocol FILE or --suite FOLDER"),
    ("verify --data there --protocol file --onnx no.onnx --out o", "--model: there is no such"),
    (
        "verify --data there --suite there --model m --out o --groups sex",
        "--groups: is for one protocol; got --suite there",
    ),
    (
        "verify --data there --suite there --model m --out o --quality",
        "--quality: is for one protocol; got --suite there",
    ),
    (
        "verify --data there --protocol file --model m --out o --min-quality sharp=3",
        "--min-quality: must be MEASURE=VALUE, such as sharpness=200; got sharp=3. Measures: norm, score,",
    ),
    (
        "verify --data there --protocol file --model m --out o --far 0.1",
        "--far: is for --groups and --quality",
    ),
    (
        "verify --data there --protocol file --model m --out o --groups sex --attributes no.csv",
        "--attributes: there is no such",
    ),
    (
        "verify --data cplfw --protocol calfw.csv --model m --out o",
        "--data: must hold the photos of CALFW, which calfw is about; other sets call theirs the same",
    ),
    ("rank --data nowhere --gallery file --probes file --model m --out o", "--data: there is no such"),
    ("rank --data there --gallery nowhere --probes file --model m --out o", "--gallery: there is no such"),
    (
        "rank --data there --gallery run.yaml --probes file --model m --out o",
        "run.yaml: must be a list of ph",
    ),
    (
        "rank --data there --gallery file --model m --out o",
        "--probes FILE, or --protocol FOLDER; got --gallery",
    ),
    ("rank --data there --protocol ijb --model m --out o", "data: must be a folder made by"),
    (
        "rank --data there --gallery file --probes file --model m --out o --pooling mean",
        "--pooling: is for a --protocol of IJB templates",
    ),
    ("rank --data there --protocol there --model m --out o", "--protocol: must be a folder with gallery.csv"),
    ("compare nowhere.jpg photo.jpg --model m", "FIRST: there is no such"),
    ("compare photo.jpg nowhere.jpg --model m", "SECOND: there is no such"),
    ("compare photo.jpg photo.jpg --run nowhere", "--model: there is no such"),
    (
        "compare",
        "compare: needs two photos or --pairs FILE; got 0 photos. Run: faceverif compare a.jpg b.jpg",
    ),
    *(
        (command, "photo: must be a readable picture; got file, which is an empty file. Give another one.")
        for command in (
            "compare photo.jpg file",
            "attack photo.jpg file --out x.png",
            "identify file --gallery there",
        )
    ),
    ("compare photo.jpg --model m", "got 1 photo. Run"),
    *(
        (
            f"{command} --far 0.03",
            "must be a calibrated false accept rate; 100,000 impostor pairs gave 0.1, 0.01, 0.001, 0.0001; "
            "got 0.03. Ask for one of these, or set it: faceverif calibrate --data ALIGNED --protocol PAIRS",
        )
        for command in (
            "compare photo.jpg photo.jpg",
            "attack photo.jpg photo.jpg --out x.png",
            "serve --port 0",
        )
    ),
    *(
        (f"{command} --model m", "calibrate --model m --data ALIGNED --protocol PAIRS")
        for command in ("compare photo.jpg photo.jpg", "identify photo.jpg --gallery there", "app --port 0")
    ),
    ("compare photo.jpg photo.jpg --pairs file --model m", "got 2 photos and --pairs"),
    ("compare --pairs nowhere.csv --model m", "--pairs: there is no such"),
    ("compare --pairs file --model m", "--pairs: must be a CSV of photos with the columns first,second"),
    ("compare --pairs file --json --csv --model m", "--csv: must not go with --json"),
    ("compare --pairs file --reject 0.1 --model m", "--reject: belongs to two photos, not to --pairs"),
    ("identify nowhere.jpg --gallery there", "PHOTOS: there is no such"),
    ("identify photo.jpg --gallery nowhere", "--gallery: there is no such"),
    ("identify photo.jpg --gallery there --fpir 0", "--fpir: must be above 0 and at most 1; got 0"),
    ("identify photo.jpg --gallery there --strangers nowhere", "--strangers: there is no such"),
    ("identify photo.jpg --gallery there --json --csv", "--csv: must not go with --json"),
    (
        "identify photo.jpg --gallery there --strangers there --calibration file",
        "--calibration: must not go with --strangers",
    ),
    ("calibrate --model m --data there --protocol nowhere", "--protocol: there is no such"),
    ("calibrate --model m --data there --protocol file --out c.txt", "--out: must be a .json file"),
    ("report nowhere", "RUN: there is no such"),
    ("report there nowhere --out o", "OTHER: there is no such"),
    ("calibrate-rejection --run nowhere", "--model: there is no such"),
    ("calibrate-rejection --run m --data nowhere", "--data: there is no such"),
    ("calibrate-rejection --run m --trained-on nowhere", "--trained-on: there is no such"),
    ("attack nowhere.jpg photo.jpg --out x.png", "PHOTO: there is no such"),
    ("attack photo.jpg nowhere.jpg --out x.png", "REFERENCE: there is no such"),
    ("attack photo.jpg photo.jpg --out x.jpg", "--out: must be a .png file"),
    ("attack photo.jpg --out x.png", "reference: must be a photo of the other person"),
    (
        "attack photo.jpg photo.jpg --out x.png --attack cw",
        "'cw' is not one of 'fgsm', 'pgd'",
    ),
    ("attack photo.jpg photo.jpg --out x.png --goal theft", "'theft' is not one of 'impersonation'"),
    ("attack photo.jpg photo.jpg --out x.png --epsilon 8", "epsilon: must be at most 1 with linf"),
    ("attack photo.jpg photo.jpg --out x.png --set stepz=3", "stepz: is not a key of the settings of pgd"),
    ("attack photo.jpg photo.jpg --out x.png --set steps=", "--set: the value must not be empty; got steps="),
    ("attack photo.jpg photo.jpg --out x.png --set epsilons=[1]", "epsilons: belongs to experiments"),
    ("attack photo.jpg photo.jpg --out x.png --source nowhere", "--source: there is no such"),
    ("attack photo.jpg photo.jpg --out x.png --source photo.jpg", "--source: must be a folder with a model"),
    ("attack photo.jpg photo.jpg --out x.png --preprocess rgb-1", "--preprocess: "),
    ("data pairs nowhere --out p.csv", "ALIGNED: there is no such"),
    ("data pairs there --out p.csv", "ALIGNED: must be a folder made by `faceverif align`"),
    ("data pairs there --out p.txt", "--out: must be a .csv file; got p.txt. Use p.csv."),
    ("data pairs there --out file/p.csv", "--out: must be a folder"),
    ("data pairs there --out p.csv --attributes file", "--attributes: belongs to --within; got it alone"),
    ("data pairs there --out p.csv --within a --attributes no.csv", "--attributes: there is no such file"),
    ("data gallery nowhere --out g", "ALIGNED: there is no such"),
    ("data gallery there --out file", "--out: must be a folder"),
    ("app --model nowhere", "--model: there is no such"),
    ("app --runs nowhere", "--runs: there is no such"),
    ("app --device gpu", "--device: must be auto"),
    ("certify --model nowhere --out o", "--model: there is no such"),
    ("certify --model m --out file", "--out: must be a folder"),
    ("certify --model m --out o --norm linf --epsilon 2", "--epsilon: must be above 0 and at most 1"),
    ("certify --model m --out o --norm linf --epsilon 0", "--epsilon: must be above 0 and at most 1"),
    ("certify --model m --out o --norm linf --epsilon nan", "--epsilon: must be above 0 and at most 1"),
    ("certify --model m --out o --epsilon 0.1", "--epsilon: belongs to --norm linf; got --norm l2"),
    ("certify --model m --out o --norm linf --noise 0.5", "--noise: belongs to --norm l2; got --norm linf"),
    ("certify --model m --out o --norm linf --samples 9", "--samples: belongs to --norm l2"),
    ("certify --model m --out o --norm linf --confidence 0.9", "--confidence: belongs to --norm l2"),
    ("certify --model m --out o --threshold nan", "--threshold: must be a cosine, from -1 to 1"),
    ("certify --model m --out o --norm linf --data there", "--norm: must be l2 for pairs"),
    ("hub push nowhere anna/m", "MODEL: there is no such"),
    ("hub push m anna", "REPO: must be OWNER/NAME; got anna. Write it as in anna/face-model."),
    ("hub pull anna/m file", "OUT: must be a folder; got the file file"),
    ("serve --model nowhere", "--model: there is no such"),
    ("serve --model m --port 70000", "'--port': Input should be less than or equal to 65535"),
    ("serve --calibration nowhere", "--calibration: there is no such"),
    ("fit-faces --data nowhere --out m.npz", "--data: there is no such"),
    ("synthesise out --model nowhere.npz", "--model: there is no such"),
    ("data check nowhere", "SOURCE: there is no such"),
    ("data audit nowhere --against there --out o --model m", "TRAIN: there is no such"),
    ("data audit there --against nowhere --out o --model m", "--against: there is no such"),
    ("data audit there --against there --out o", "Missing option '--model'"),
    ("data export nowhere out", "ALIGNED: there is no such"),
    ("data fetch lwf", "casia-webface"),
    ("data fetch lfw --out file", "--out: must be a folder"),
    ("data audit there --against there --out file/o", "--out: must be a folder; got the file file"),
    ("data export there file --format webdataset", "OUT: must be a folder; got the file file"),
    ("data export there out --format webdataset --part 9/8", "--part: must be a part and how many there are"),
    ("import nowhere.pth --out o", "FILE: there is no such"),
    ("import file --out o --template arcface-99", "template: must be a known"),
    ("fit-head --model nowhere --data there --out o", "--model: there is no such"),
    ("fit-head --model m --data there --out o --head lgn", "lgn"),
    ("fit-head --model m --data there --out o --set head.scal=1", "head.scal: is not a key"),
    ("import file --out file", "--out: must be a folder; got the file file"),
    ("classify images.yaml --run file", "--run: must be a folder; got the file file"),
    ("experiment table.yaml --out file", "--out: must be a folder; got the file file"),
    ("verify --data there --suite there --model m --out file", "--out: must be a folder"),
    ("report there there --out file", "--out: must be a folder; got the file file"),
    (
        "config show mnist/lgn",
        "NAME: must be a shipped config; got mnist/lgn. `faceverif config list` has mnist/lgm.",
    ),
    ("config show celeba_cosfac", "got celeba_cosfac. `faceverif config list` has faces/celeba_cosface."),
    ("train celeba_cosface.yaml --run x", "`faceverif config list` has faces/celeba_cosface."),
    (
        "train improved --run x",
        "`faceverif config list` has cifar10/improved, cifar100/improved, fashion_mnist/",
    ),
    ("config keys head.cosfaze", "SECTION: must be a section; got head.cosfaze. Did you mean head.cosface?"),
    (
        "config keys training",
        "SECTION: must name one section; got training. Use one of: train.training,",
    ),
    ("demo --out file", "--out: must be a folder; got the file file"),
    ("synthesise file", "OUT: must be a folder; got the file file"),
    ("embed --data there --model m --out there", "--out: must be a file; got the folder there"),
    (
        "embed --data there --model m --out e.txt",
        "--out: must be a .parquet file; got e.txt. Use",
    ),
    (
        "compare photo.jpg photo.jpg --model m --out c.jpg",
        "--out: must be a .png file; got c.jpg. Use",
    ),
    ("fit-faces --data there --out m.pkl", "--out: must be a .npz file; got m.pkl. Use m.npz"),
    ("embed --data there --model m --out file/e.parquet", "--out: must be a folder; got the file file"),
    ("compare photo.jpg photo.jpg --model m --out there", "--out: must be a file; got the folder there"),
    ("export --model nowhere --to onnx --out m.onnx", "--model: there is no such"),
    ("export --model there --to onnx --out m.onnx", "--model: must be a folder with a model.safetensors"),
    ("export --model m --to onnx --out m.pt2", "--out: must be a .onnx file for --to onnx; got m.pt2"),
    ("export --model m --to torch-export --out m.onnx", "for --to torch-export; got m.onnx. Use m.pt2."),
    ("export --model m --to onnx --out m.onnx --half --int8", "--half: cannot be combined with --int8"),
    ("export --model m --to torch-export --out m.pt2 --int8", "--int8: is for ONNX Runtime"),
    ("export --model m --to onnx --out m.onnx --protocol file", "--protocol: needs the aligned crops"),
    ("export --model m --to onnx --out m.onnx --data nowhere", "--data: there is no such"),
    ("export --model m --to onnx --out file/m.onnx", "--out: must be a folder; got the file file"),
    ("export --model m --to tflite --out m.tflite", "'tflite' is not one of 'onnx', 'torch-export'"),
    ("fit-faces --data there --out there", "--out: must be a file; got the folder there"),
]


@pytest.fixture(scope="module")
def ended(folder: Path) -> dict[str, Ended]:
    """What became of each command."""
    return end_of_each([command for command, _ in WRONG], folder)


def end_of_each(commands: list[str], folder: Path) -> dict[str, Ended]:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        input=json.dumps([command.split(" ") for command in commands]),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(commands, map(tuple, json.loads(finished.stdout)), strict=True))


@pytest.mark.parametrize(("command", "says"), WRONG)
def test_what_is_wrong_is_said_before_anything_heavy_is_imported(
    ended: dict[str, Ended], command: str, says: str
) -> None:
    code, output, errors, heavy = ended[command]
    assert (code, output, heavy) == (2, "", [])
    assert says in errors
    assert errors.count("\n") == 1


def test_no_command_is_left_out() -> None:
    tried = {" ".join(words.split()[: 1 + (words.split()[0] in GROUPS)]) for words, _ in WRONG}
    assert tried == all_commands().keys() - {"config list"}  # which takes nothing


def test_an_image_classifier_is_no_face_model_to_any_command_that_takes_one(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    weights = {"weight": np.zeros(3, dtype=np.float32)}
    save_file(weights, tmp_path / "run/model.safetensors", metadata={"faceverif.classifier": "{}"})
    takes = [
        words
        for words in all_commands().keys() - {"certify", "synthesise"}  # take classifiers, and faces to draw
        if " " not in words and any("--model" in each.opts for each in command_line().commands[words].params)
    ]
    assert {"compare", "verify", "serve", "export", "attack", "calibrate"} < set(takes)
    commands = [
        *(f"{words} --model run" for words in takes),
        *("attack a.png --source run", "hub push run a/b", "data audit --model run"),
    ]
    for command, (code, _, errors, heavy) in end_of_each(commands, tmp_path).items():
        assert "must be a face model; got run/model.safetensors, which holds another kind" in errors, command
        assert (code, heavy) == (2, [])


def test_nothing_was_written(folder: Path, ended: dict[str, Ended]) -> None:
    configs = {f"{name}.yaml" for name in ("run", "images", "table", "reject", "runs", "wrong")}
    names = configs | {
        "there",
        "photo.jpg",
        "file",
        "net.onnx",
        "net.pth",
        "m",
        "model.safetensors",
        "parent",
    }
    names |= {"ijb", "x_face_tid_mid.txt", "cplfw", "calfw.csv"}
    assert {path.name for path in folder.rglob("*")} == names
