"""A table: checked before it starts, killed and gone on with, and right in its numbers."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from data_prep.errors import InputError
from data_prep.lock import locked
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.evaluation import Predictions, measure_predictions
from faceverif.config.reading import read_yaml
from faceverif.config.section import merged
from faceverif.config.yaml_text import parse_yaml, yaml_text
from faceverif.experiment import images, report, run, wsoftmax_figure
from faceverif.experiment.config import ExperimentConfig, load_experiment
from faceverif.experiment.plan import plan_runs
from faceverif.experiment.report import case_axis
from faceverif.experiment.run import run_experiment
from faceverif.experiment.table import compare_paired
from faceverif.heads.softmax import SoftmaxHead
from faceverif.models.location import MODEL_NAME
from faceverif.report.curves import Line
from faceverif.report.run_metrics import FACE_METRICS, IMAGE_METRICS, TEN_CROP_METRICS, metric_named
from faceverif.training.checkpoint import checkpoint_path

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SHIPPED = sorted(
    path for path in CONFIGS.glob("*/*.yaml") if "methods" in parse_yaml(path.read_text(encoding="utf-8"))
)
# By method and seed.
ERRORS = {("softmax", 0): 0.30, ("softmax", 1): 0.20, ("l-gm", 0): 0.10, ("l-gm", 1): 0.15}


def settings() -> dict[str, Any]:
    net = {"name": "convmixer", "width": 4, "depth": 1, "kernel_px": 3, "patch_px": 2, "embedding_dim": 2}
    return {
        "name": "toy",
        "title": "Toy <digits>",
        "source": "nobody, Table 1",
        "metric": "error",
        "baseline": "softmax",
        "common": {
            "data": {"name": "digits", "limit": 100},
            "network": net,
            "head": {"name": "softmax"},
            "optimizer": {"name": "sgd", "learning_rate": 0.05},
            "schedule": {"name": "cosine"},
            "training": {"epochs": 2, "batch_size": 50},
        },
        "methods": [
            {"name": "softmax", "seeds": [0, 1], "published": {"mean": 0.0182, "sd": 0.0001}},
            {"name": "l-gm", "seeds": [0, 1], "settings": {"head": {"name": "lgm", "alpha": 1.0}}},
        ],
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "toy.yaml"
    path.write_text(yaml_text(content), encoding="utf-8")
    return path


class Trainer:
    """Stands in for the training: notes what it is asked for, and leaves what a finished run leaves."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []  # whether it had been begun
        self.killed_at = -1
        self.starts: list[Path | None] = []
        self.data = "a"

    def __call__(self, config: ClassificationConfig, run: Path) -> None:
        self.asked.append((f"{run.parent.name}/{run.name}", checkpoint_path(run).is_file()))
        self.starts.append(config.training.start_from)
        checkpoint_path(run).parent.mkdir(parents=True, exist_ok=True)
        checkpoint_path(run).touch()
        (run / "config.yaml").write_text(yaml_text(config.model_dump(mode="json")), encoding="utf-8")
        if len(self.asked) == self.killed_at:
            raise KeyboardInterrupt
        error = ERRORS["l-gm" if config.head.name == "lgm" else "softmax", config.seed]
        metrics = {"error": error, "ece": error / 2, "nmi": 0.5, "mean_angle_deg": [10.0] * 10}
        (run / "provenance.json").write_text(json.dumps({"data": {"sha256": self.data}}), encoding="utf-8")
        result = {"metrics": metrics, "evaluated_on": "test", "images": 20, "hours": 0.25}
        (run / "result.json").write_text(json.dumps(result), encoding="utf-8")


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    stand_in = Trainer()
    monkeypatch.setattr(images, "train_classifier", stand_in)
    monkeypatch.setattr(run, "write_experiment_report", lambda *_: None)
    return stand_in


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_experiment_is_sound(path: Path) -> None:
    table = load_experiment(path)
    runs = plan_runs(table, source=str(path))
    assert len({run.name for run in runs}) == len(runs) >= 2
    # The paper's numbers are fractions, and its own method has one wherever the paper prints numbers.
    numbers = [table.published(run.method, run.case, table.metric).mean for run in runs]
    beside = [table.published(run.method, run.case, metric) for run in runs for metric in table.beside]
    assert all(0 < number < (0.7 if table.lower_is_better else 1) for number in numbers if number is not None)
    assert any(numbers) or any(number.mean for number in beside) or "Fig" in table.source or not table.source
    opening = path.read_text(encoding="utf-8").splitlines()
    command = f"# faceverif experiment {path.relative_to(CONFIGS.parent)} --out runs/{table.name}"
    assert opening[0].startswith(command)


def test_shipped_experiments_are_there() -> None:
    assert len(SHIPPED) >= 12


def test_each_method_is_run_once_before_any_twice(tmp_path: Path, trainer: Trainer) -> None:
    run_experiment(write(tmp_path, settings()), tmp_path / "out")
    names = [name for name, _ in trainer.asked]
    assert names == ["softmax/seed0", "l-gm/seed0", "softmax/seed1", "l-gm/seed1"]


def test_numbers_of_the_table(tmp_path: Path, trainer: Trainer) -> None:
    run_experiment(write(tmp_path, settings()), tmp_path / "out")
    record = json.loads((tmp_path / "out/table.json").read_text())
    softmax, lgm = record["cells"]
    assert softmax["mean"] == pytest.approx(0.25)
    assert softmax["sd"] == pytest.approx(0.1 / np.sqrt(2))
    assert softmax["published"] == {"mean": 0.0182, "sd": 0.0001}
    assert softmax["hours"] == 0.5
    assert lgm["values"] == [0.10, 0.15]
    assert lgm["others"] == {"ece": pytest.approx(0.0625), "nmi": 0.5}
    # Differences -0.20 and -0.05: t = mean / (sd / sqrt 2), and with one degree of freedom Student is Cauchy.
    t = -0.125 / (statistics.stdev([-0.20, -0.05]) / np.sqrt(2))
    p_value = 1 - 2 / np.pi * np.arctan(abs(t))
    assert lgm["comparison"]["p_value"] == pytest.approx(p_value)
    assert lgm["comparison"]["difference"] == pytest.approx(-0.125)
    text = (tmp_path / "out/table.md").read_text()
    assert "| softmax | 25.00 ± 7.07 | 2 of 2 | 1.82 ± 0.01 | baseline |" in text
    assert (
        f"| l-gm | 12.50 ± 3.54 | 2 of 2 |  | -12.50, no significant difference (p = {p_value:.2g}, n = 2) |"
        in text
    )


def test_metrics_beside_it_and_rows_that_are_only_quoted(tmp_path: Path, trainer: Trainer) -> None:
    content = settings() | {"beside": ["nmi", "ece"], "quoted": {"others": {"mean": 0.02}}}
    content["methods"][1]["published_beside"] = {"nmi": {"mean": 0.6}}
    run_experiment(write(tmp_path, content), tmp_path / "out", only=["l-gm"])
    header, _, softmax, lgm, quoted = (tmp_path / "out/table.md").read_text().splitlines()[4:]
    assert header.endswith("| against softmax | NMI in %, ours | paper | ECE in %, ours |")
    assert softmax.endswith("| baseline |  |  |  |")
    assert lgm.endswith("| 50.00 ± 0.00 | 60.00 | 6.25 ± 1.77 |")
    assert quoted == "| others |  | quoted, not run | 2.00 |  |  |  |  |"
    record = json.loads((tmp_path / "out/table.json").read_text())
    assert [number["mean"] for number in record["cells"][1]["beside"]] == [0.5, pytest.approx(0.0625)]
    assert record["quoted"] == {"others": {"mean": 0.02, "sd": None}}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"beside": ["error"]}, "a metric has two columns"),
        ({"beside": ["precision"]}, r"beside: must be measured by every run; got precision"),
        ({"quoted": {"l-gm": {"mean": 0.1}}}, "l-gm is both in `quoted` and in `methods`"),
        ({"quoted": {"others": {"mean": 2.0}}}, "published rates are fractions"),
    ],
)
def test_columns_and_quoted_rows_are_checked(tmp_path: Path, changes: dict[str, Any], rule: str) -> None:
    path = write(tmp_path, settings() | changes)
    with pytest.raises(InputError, match=rule):
        plan_runs(load_experiment(path), source=str(path))


def test_published_numbers_need_their_column(tmp_path: Path) -> None:
    content = settings()
    content["methods"][0]["published_beside"] = {"nmi": {"mean": 0.5}}
    with pytest.raises(InputError, match="nmi has published numbers but is not listed in `beside`"):
        load_experiment(write(tmp_path, content))


def test_killed_it_goes_on_and_leaves_what_has_finished(tmp_path: Path, trainer: Trainer) -> None:
    path, out = write(tmp_path, settings()), tmp_path / "out"
    trainer.killed_at = 2
    with pytest.raises(KeyboardInterrupt):
        run_experiment(path, out)
    assert "| l-gm |  | 0 of 2 |" in (out / "table.md").read_text()
    run_experiment(path, out)
    again = trainer.asked[2:]
    assert again == [("l-gm/seed0", True), ("softmax/seed1", False), ("l-gm/seed1", False)]
    run_experiment(path, out)
    assert len(trainer.asked) == 5


def test_a_method_refines_the_run_of_another(tmp_path: Path, trainer: Trainer) -> None:
    content = settings()
    content["methods"][1]["start_from"] = "softmax"
    path, out = write(tmp_path, content), tmp_path / "out"
    with pytest.raises(InputError, match=r"l-gm/seed0: starts from softmax/seed0.*--only softmax"):
        run_experiment(path, out, only=["l-gm"])
    assert trainer.asked == []
    run_experiment(path, out)
    first, second = out / "softmax/seed0", out / "softmax/seed1"
    assert trainer.starts == [None, first, None, second]
    moved = out.rename(tmp_path / "moved")  # where the runs lie does not make their settings others
    run_experiment(path, moved)
    assert len(trainer.asked) == 4
    del content["methods"][1]["start_from"]
    with pytest.raises(
        InputError, match=r"l-gm/seed0: must start from where it did; .*softmax/seed0 -> None"
    ):
        run_experiment(write(tmp_path, content), moved)


@pytest.mark.parametrize("start", ["l-gm", "nothing"])
def test_a_method_starts_from_an_earlier_one(tmp_path: Path, start: str) -> None:
    content = settings()
    content["methods"][0]["start_from"] = start
    with pytest.raises(InputError, match="softmax must start from an earlier method"):
        load_experiment(write(tmp_path, content))


def test_only_names_methods_and_cases(tmp_path: Path, trainer: Trainer) -> None:
    content = settings() | {
        "cases": [{"name": f"k{k}", "settings": {"data": {"classes": k}}} for k in (5, 10)]
    }
    content["methods"][0]["published"] = {}
    path, out = write(tmp_path, content), tmp_path / "out"
    table = run_experiment(path, out, only=["l-gm", "k5"])
    assert trainer.asked == [("k5/seed0", False), ("k5/seed1", False)]
    assert (out / "l-gm/k5/seed1/result.json").is_file()
    assert [(cell.method, cell.case, len(cell.seeds)) for cell in table.cells] == [
        ("softmax", "k5", 0),
        ("l-gm", "k5", 2),
        ("softmax", "k10", 0),
        ("l-gm", "k10", 0),
    ]
    assert case_axis(load_experiment(path)) == ("data.classes", {"k5": 5, "k10": 10})
    with pytest.raises(InputError, match=r"--only: must name a method or a case of toy; got arcface"):
        run_experiment(path, out, only=["arcface"])


def test_the_memory_of_a_layer_is_drawn_over_its_size(
    tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Line] = []
    real = wsoftmax_figure.series_panel

    def noting(lines: list[Line], **labels: Any) -> Any:
        drawn.extend(lines)
        return real(lines, **labels)

    def outputs(folder: Path) -> SimpleNamespace:
        width = read_yaml(folder / "config.yaml")["network"]["embedding_dim"]
        return SimpleNamespace(dense_parameters=width * 2**18)

    def train(config: ClassificationConfig, folder: Path) -> None:
        trainer(config, folder)
        (folder / MODEL_NAME).touch()

    monkeypatch.setattr(run, "write_experiment_report", report.write_experiment_report)
    monkeypatch.setattr(images, "train_classifier", train)
    monkeypatch.setattr(images.ImageTask, "pictures", lambda *_: ())
    monkeypatch.setattr(wsoftmax_figure, "series_panel", noting)
    monkeypatch.setattr(wsoftmax_figure, "run_outputs", outputs)
    content = settings() | {
        "cases": [{"name": f"m{m}", "settings": {"network": {"embedding_dim": m}}} for m in (9, 2)]
    }
    del content["methods"][1], content["methods"][0]["published"]
    content["methods"][0]["seeds"] = [0]
    run_experiment(write(tmp_path, content), tmp_path / "out")
    assert [(line.name, line.across, line.up) for line in drawn[-1:]] == [("softmax", [2, 9], [2.0, 9.0])]
    assert "Memory over network.embedding_dim" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_of_several_processes_the_first_writes_the_table(
    tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    table = run_experiment(write(tmp_path, settings()), tmp_path / "out")
    assert [cell.seeds for cell in table.cells] == [[0, 1], [0, 1]]
    assert not (tmp_path / "out/table.md").exists()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RANK", "0")
    run_experiment(tmp_path / "toy.yaml", tmp_path / "out")
    assert (tmp_path / "out/table.md").is_file()


def test_all_settings_are_checked_before_the_first_training(tmp_path: Path, trainer: Trainer) -> None:
    content = settings()
    content["methods"][1]["settings"]["head"]["alpha"] = -1
    with pytest.raises(InputError, match=r"head\.alpha: .*got -1.*method l-gm"):
        run_experiment(write(tmp_path, content), tmp_path / "out")
    assert trainer.asked == []


def test_a_run_with_other_settings_is_refused(tmp_path: Path, trainer: Trainer) -> None:
    path, out = write(tmp_path, settings()), tmp_path / "out"
    run_experiment(path, out, only=["l-gm"])
    rule = r"l-gm/seed0: must have the settings .*; got training\.epochs 2 -> 3\. Set them back, remove"
    with pytest.raises(InputError, match=rule):
        run_experiment(path, out, overrides=["common.training.epochs=3"])
    # How often is looked changes no number.
    run_experiment(path, out, overrides=["common.training.evaluate_every_epochs=2"])
    assert len(trainer.asked) == 4


def test_runs_on_other_data_are_not_compared(tmp_path: Path, trainer: Trainer) -> None:
    path, out = write(tmp_path, settings()), tmp_path / "out"
    run_experiment(path, out, only=["softmax"])
    table = (out / "table.md").read_text()
    trainer.data = "b"
    rule = r"--out: runs that are compared must have seen the same data; got .*softmax/seed0 and .*l-gm/seed0"
    with pytest.raises(InputError, match=rule):
        run_experiment(path, out, only=["l-gm"])
    assert (out / "table.md").read_text() == table
    assert len(trainer.asked) == 3
    # Where a method asks for other data there is nothing to hold against it.
    content = settings()
    content["methods"][1]["settings"]["data"] = {"label_noise": 0.4}
    run_experiment(write(tmp_path, content), tmp_path / "noisy", only=["l-gm"])
    trainer.data = "a"
    cells = run_experiment(write(tmp_path, content), tmp_path / "noisy").cells
    assert [cell.seeds for cell in cells] == [[0, 1], [0, 1]]


def test_a_run_without_its_settings_is_refused(tmp_path: Path, trainer: Trainer) -> None:
    path, out = write(tmp_path, settings()), tmp_path / "out"
    run_experiment(path, out)
    (out / "l-gm/seed0/config.yaml").unlink()
    with pytest.raises(InputError, match=r"l-gm/seed0: must hold its config\.yaml; got none"):
        run_experiment(path, out)


def test_damaged_results_are_named(tmp_path: Path, trainer: Trainer) -> None:
    path, out = write(tmp_path, settings()), tmp_path / "out"
    run_experiment(path, out)
    for content in ('{"metrics": ', "", "[1]"):
        (out / "l-gm/seed1/result.json").write_text(content)
        with pytest.raises(InputError, match=r"result\.json: must hold a JSON object; .*l-gm/seed1/result"):
            run_experiment(path, out)
    (out / "l-gm/seed1/result.json").unlink()
    run_experiment(path, out)
    assert trainer.asked[4:] == [("l-gm/seed1", True)]


def test_a_metric_that_these_images_do_not_give(tmp_path: Path, trainer: Trainer) -> None:
    path = write(tmp_path, settings() | {"metric": "recall_at_1"})
    with pytest.raises(InputError, match=r"metric: recall_at_1 must have been measured; .*test, 20 images"):
        run_experiment(path, tmp_path / "out", only=["softmax"])


def test_methods_may_read_other_files(tmp_path: Path, trainer: Trainer) -> None:
    content = settings()
    content["methods"][1]["settings"]["data"] = {"path": "elsewhere"}
    path, out = write(tmp_path, content), tmp_path / "out"
    run_experiment(path, out, only=["softmax"])
    trainer.data = "b"
    assert [cell.seeds for cell in run_experiment(path, out).cells] == [[0, 1], [0, 1]]


def test_a_run_is_not_trained_twice_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "softmax/seed0").mkdir(parents=True)
    with (
        locked(out / "softmax/seed0", command="faceverif classify"),
        pytest.raises(InputError, match=r"softmax/seed0: --run: must not be in use"),
    ):
        run_experiment(write(tmp_path, settings()), out)


def test_a_training_that_cannot_begin_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = settings()
    content["common"]["data"] = {"name": "mnist", "path": str(tmp_path / "nowhere")}
    with pytest.raises(InputError, match=r"data\.path"):
        run_experiment(write(tmp_path, content), tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.*"))


def test_a_training_that_stops_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(config: ClassificationConfig, run: Path) -> None:
        raise InputError("training", "loss must stay finite", got="nan", fix="Lower the rate.")

    monkeypatch.setattr(images, "train_classifier", stops)
    with pytest.raises(InputError, match=r"softmax/seed0: training: loss must stay finite"):
        run_experiment(write(tmp_path, settings()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("baseline", "arcface", "the baseline must be one of the methods"),
        ("methods", [{"name": "softmax", "seeds": []}], "at least 1 item"),
        ("methods", [{"name": "softmax", "seeds": [1, 1]}], "same seed twice"),
        ("methods", 2 * [{"name": "softmax", "seeds": [1]}], "the same name"),
        ("methods", [{"name": "../up", "seeds": [1]}], "match pattern"),
        ("methods", [{"name": "m" * 101, "seeds": [1]}], "at most 100 characters"),
        ("methods", [{"name": "table.md", "seeds": [1]}], "a name that the table itself needs"),
        (
            "methods",
            [{"name": "softmax", "seeds": [0]}, {"name": "l-gm", "seeds": [1]}],
            "l-gm must share a seed with the baseline",
        ),
        (
            "methods",
            [{"name": "softmax", "seeds": [1], "published": {"mean": 1.82}}],
            "published rates are fractions",
        ),
        ("methods", [{"name": "softmax", "seeds": [1], "settings": {"seed": 2}}], "seed is set by the seeds"),
        (
            "cases",
            [{"name": "k", "settings": {}, "published": {"x": {}}}],
            "a published number for x, which is not a method",
        ),
        ("cases", [{"name": "k", "settings": {}}], "published numbers stand with the cases"),
    ],
)
def test_tables_that_make_no_sense(tmp_path: Path, key: str, value: Any, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        load_experiment(write(tmp_path, settings() | {key: value}))


@pytest.mark.parametrize("metric", ["error", "nll", "all_negative", "ten_crop_error", "lfw/eer"])
def test_which_way_is_better_follows_from_the_metric(tmp_path: Path, metric: str) -> None:
    assert load_experiment(write(tmp_path, settings() | {"metric": metric})).lower_is_better
    for higher in ("nmi", "macro_f1", "recall_at_8", "lfw/accuracy", "lfw/auc"):
        assert not load_experiment(write(tmp_path, settings() | {"metric": higher})).lower_is_better


def test_every_measured_number_has_a_metric_and_every_metric_stands_in_the_reference() -> None:
    logits = torch.randn(40, 10, generator=torch.manual_seed(0))
    labels = torch.arange(40) % 10
    predictions = Predictions(torch.randn(40, 3, generator=torch.manual_seed(1)), logits, labels)
    measured = measure_predictions(predictions, SoftmaxHead(classes=10, embedding_dim=3), seed=0)
    single = {name for name, value in measured.items() if isinstance(value, float)}
    assert single == {metric.name for metric in IMAGE_METRICS}
    attributes = ExperimentConfig.__doc__ or ""
    explained = attributes[attributes.index("metric:") : attributes.index("beside:")]
    for metric in (*IMAGE_METRICS, *TEN_CROP_METRICS, *FACE_METRICS):
        stem, _, k = metric.name.rpartition("_at_")
        assert (metric.name in explained) or (f"{stem}_at_1 (" in explained and k in explained), metric.name


def test_metrics_are_printed_in_their_unit() -> None:
    nll, eer = metric_named("nll"), metric_named("lfw/eer")
    assert (nll.heading, nll.text(0.5), nll.text(0.5, sign="+")) == ("NLL", "0.5000", "+0.5000")
    assert (eer.heading, eer.text(0.5), eer.text(None)) == ("lfw EER in %", "50.00", "")
    assert metric_named("of_tomorrow").heading == "of tomorrow"


def test_laying_settings_over_each_other() -> None:
    common = {"head": {"name": "lgm", "alpha": 1.0, "covariance": "diagonal"}, "training": {"epochs": 3}}
    assert merged(common, {"head": {"alpha": 0.3}})["head"] == common["head"] | {"alpha": 0.3}
    assert merged(common, {"head": {"name": "softmax"}})["head"] == {"name": "softmax"}
    assert merged(common, {"penalties": []}) == common | {"penalties": []}


def test_too_few_seeds_and_equal_ones_are_not_tested() -> None:
    assert compare_paired([0.1], [0.2]).note == "one shared seed: too few for a test"
    equal = compare_paired([0.1, 0.2, 0.3], [0.2, 0.3, 0.4])
    assert equal.p_value is None
    assert equal.note == "the same difference for every seed: no test"
    ours, theirs = [0.1, 0.2, 0.3], [0.2, 0.25, 0.5]
    found = compare_paired(ours, theirs).p_value
    assert found == pytest.approx(stats.ttest_1samp(np.subtract(ours, theirs), 0).pvalue)


def test_from_yaml_to_page(tmp_path: Path) -> None:
    content = settings()
    for method in content["methods"]:
        method["seeds"] = [3]
    out = tmp_path / "out"
    table = run_experiment(write(tmp_path, content), out)
    assert all(cell.seeds == [3] for cell in table.cells)
    page = (out / "report.html").read_text(encoding="utf-8")
    for heading in (
        "Embeddings",
        "Embeddings of training images",
        "Likelihood",
        "Training",
        "Reliability",
        "Angles",
        "Other metrics",
        "Machine",
    ):
        assert f">{heading}</h2>" in page
    assert "Toy &lt;digits&gt;" in page
    figures = {path.stem for path in (out / "figures").iterdir()}
    assert {
        "embeddings-softmax",
        "likelihood-l-gm",
        "curves-evaluation-accuracy",
        "angles-training-images",
    } <= figures
    assert page.count("<svg ") == len(figures) == 12
    assert "too few for a test" in page
    kept = out / "softmax/seed3/outputs.npz"
    kept.write_bytes(kept.read_bytes()[:100])  # only a cache
    (out / "l-gm/seed3/model.safetensors").unlink()  # without it there is nothing to draw
    run_experiment(tmp_path / "toy.yaml", out)
    assert "Likelihood</h2>" not in (out / "report.html").read_text(encoding="utf-8")
    outputs = np.load(kept)
    result = json.loads((out / "softmax/seed3/result.json").read_text())
    hits = np.nansum(outputs["accuracy"] * outputs["counts"])
    assert hits / outputs["counts"].sum() == pytest.approx(1 - result["metrics"]["error"])
