"""Detectors in the user's .onnx files: small networks whose answer can be worked out by hand.

Each judges the mean brightness of a cell of 8 x 8 pixels, so it sees a face where a cell is white; boxes and
landmarks are constants beside the cell's place.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from PIL import Image

from data_prep.dataset.manifest import AlignedDataset
from data_prep.detection.choice import described_detector, kind_of_detector, load_detector
from data_prep.detection.faces import Faces
from data_prep.errors import InputError
from data_prep.prepare.align_folder import align_folder
from data_prep.prepare.task import AlignSettings
from data_prep.prepare.workers import AlignJob
from data_prep.sources.folder import list_photos
from data_prep.work.carried import DONE, READY, Order, RemoteWorker
from data_prep.work.storage import Storage

STRIDES = (8, 16, 32)
POINTS = np.array([[-0.5, -0.5], [0.5, -0.5], [0, 0], [-0.5, 0.5], [0.5, 0.5]], np.float32)


class Graph:
    """An ONNX graph that grows."""

    def __init__(self, shape: list[int | str]) -> None:
        self.shape, self.nodes, self.values, self.outputs = shape, [], [], []

    def add(self, kind: str, *inputs: str | NDArray[np.generic], **settings: object) -> str:
        """A node; arrays among its inputs are constants."""
        names = []
        for given in inputs:
            if not isinstance(given, str):
                self.values.append(numpy_helper.from_array(given, f"value{len(self.values)}"))
                given = self.values[-1].name
            names.append(given)
        node: NodeProto = helper.make_node(kind, names, [f"node{len(self.nodes)}"], **settings)
        self.nodes.append(node)
        return str(node.output[0])

    def judged(self, stride: int, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        """A product with the mean colour of every cell, (1, channels, rows, columns)."""
        means = self.add("AveragePool", "input", kernel_shape=[stride] * 2, strides=[stride] * 2)
        return self.add("Conv", means, np.repeat(weight[:, None], 3, 1)[..., None, None], bias)

    def give(self, name: str, values: str, shape: list[int], *, of: list[int | str]) -> None:
        """An output: cells and anchors first."""
        last = self.add("Transpose", values, perm=[0, 2, 3, 1])
        self.add("Reshape", last, np.array(shape))
        self.nodes[-1].output[0] = name
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, of))

    def saved(self, path: Path) -> Path:
        """The file."""
        given = helper.make_tensor_value_info("input", TensorProto.FLOAT, self.shape)
        graph = helper.make_graph(self.nodes, "small", [given], self.outputs, self.values)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, path)
        return path


def scrfd(path: Path, *, landmarks: bool = True, side: int | str = 64) -> Path:
    """Two anchors a cell, of which the second is the better one; only stride 8 sees anything."""
    graph = Graph([1, 3, side, side])
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    for stride in STRIDES:
        sees = stride == 8
        likely = graph.judged(stride, one * sees, np.float32([0, 2]) if sees else zero - 4)
        graph.give(f"score_{stride}", graph.add("Sigmoid", likely), [-1, 1], of=["n", 1])
    for stride in STRIDES:
        sides = np.float32([1, 1.5, 2, 2, 1, 1.5, 2, 2.5])  # the first anchor's box is another one
        graph.give(f"box_{stride}", graph.judged(stride, 0 * sides, sides), [-1, 4], of=["n", 4])
    for stride in STRIDES if landmarks else ():
        points = np.concatenate([np.zeros(10, np.float32), POINTS.ravel()])
        graph.give(f"kps_{stride}", graph.judged(stride, 0 * points, points), [-1, 10], of=["n", 10])
    return graph.saved(path)


def yunet(path: Path, *, height: int | str = 64, width: int | str = 64) -> Path:
    """One candidate a cell, whose box is twice the cell; only stride 8 sees anything."""
    graph = Graph([1, 3, height, width])
    for kind, biases in (("cls", [0]), ("obj", [1]), ("bbox", [0.5, 0.5, np.log(2), np.log(2)])):
        for stride in STRIDES:
            bias = np.float32(biases)
            weight = np.full_like(bias, 1 / 765 if (kind, stride) == ("cls", 8) else 0)
            shape = [1, -1, len(bias)]
            cells = (64 // stride) ** 2
            graph.give(
                f"{kind}_{stride}", graph.judged(stride, weight, bias), shape, of=[1, cells, len(bias)]
            )
    for stride in STRIDES:
        points = (POINTS + 0.5).ravel()
        of = [1, (64 // stride) ** 2, 10]
        graph.give(f"kps_{stride}", graph.judged(stride, 0 * points, points), [1, -1, 10], of=of)
    return graph.saved(path)


def white_cell(row: int, column: int, *, size: tuple[int, int] = (64, 64)) -> NDArray[np.uint8]:
    photo = np.zeros((*size, 3), np.uint8)
    photo[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 255
    return photo


def only_face(path: Path, photo: NDArray[np.uint8], *, min_face_px: int = 12) -> Faces:
    (seen,) = load_detector(str(path), min_face_px).detect([photo])
    assert len(seen.faces) == 1
    assert seen.detection_pass == 1
    return seen.faces


def test_scrfd_finds_the_cell_and_takes_the_better_anchor(tmp_path: Path) -> None:
    faces = only_face(scrfd(tmp_path / "net.onnx"), white_cell(2, 5))
    np.testing.assert_allclose(faces.boxes[0], [40 - 8, 16 - 12, 40 + 16, 16 + 20], atol=1e-4)
    np.testing.assert_allclose(faces.landmarks[0], np.array([40, 16]) + 8 * POINTS, atol=1e-4)
    assert faces.scores[0] > 0.99


def test_scrfd_answers_in_pixels_of_the_photo(tmp_path: Path) -> None:
    path = scrfd(tmp_path / "net.onnx")
    small = only_face(path, white_cell(2, 5))
    large = only_face(path, white_cell(2, 5).repeat(2, axis=0).repeat(2, axis=1)[:100])
    np.testing.assert_allclose(large.boxes, 2 * small.boxes, atol=1e-3)
    np.testing.assert_allclose(large.landmarks, 2 * small.landmarks, atol=1e-3)


@pytest.mark.parametrize("build", [scrfd, yunet])
def test_fine_stripes_of_a_large_photo_are_averaged(build: type, tmp_path: Path) -> None:
    """Of 16 columns two are white. Sampled in the middle alone, the photo would be white everywhere."""
    longest = 1024 if build is scrfd else 10240  # the input is 64 px, of YuNet 640
    photo = np.zeros((longest // 16, longest, 3), np.uint8)
    photo[:, 7::16] = photo[:, 8::16] = 255
    (seen,) = load_detector(str(build(tmp_path / "net.onnx")), 12).detect([photo])
    assert seen.detection_pass is None


def test_scrfd_enlarges_no_photo(tmp_path: Path) -> None:
    faces = only_face(scrfd(tmp_path / "net.onnx"), white_cell(1, 2, size=(30, 40)))
    np.testing.assert_allclose(faces.boxes[0], [16 - 8, 8 - 12, 16 + 16, 8 + 20], atol=1e-4)


def test_scrfd_whose_file_leaves_its_size_open_takes_a_photo_as_it_is(tmp_path: Path) -> None:
    path = scrfd(tmp_path / "net.onnx", side="side")
    faces = only_face(path, white_cell(2, 50, size=(90, 500)))
    np.testing.assert_allclose(faces.boxes[0], [400 - 8, 16 - 12, 400 + 16, 16 + 20], atol=1e-4)
    twice = only_face(path, white_cell(2, 5, size=(640, 640)).repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_allclose(twice.boxes[0], [80 - 16, 32 - 24, 80 + 32, 32 + 40], atol=1e-3)


def test_scrfd_searches_a_photo_without_a_face_again_in_a_border(tmp_path: Path) -> None:
    photo = np.zeros((40, 40, 3), np.uint8)
    photo[14:19, 14:18] = 255  # a few pixels in each of four cells; with the border of 10 all in one
    (seen,) = load_detector(str(scrfd(tmp_path / "net.onnx")), 12).detect([photo])
    assert seen.detection_pass == 2
    np.testing.assert_allclose(seen.faces.boxes, [[14 - 8, 14 - 12, 14 + 16, 14 + 20]], atol=1e-4)
    np.testing.assert_allclose(seen.faces.landmarks[0], 14 + 8 * POINTS, atol=1e-4)


def test_yunet_finds_the_cell(tmp_path: Path) -> None:
    faces = only_face(yunet(tmp_path / "net.onnx"), white_cell(2, 5))
    np.testing.assert_allclose(faces.boxes[0], [44 - 8, 20 - 8, 44 + 8, 20 + 8], atol=1e-3)
    np.testing.assert_allclose(faces.landmarks[0], np.array([44, 20]) + 8 * POINTS, atol=1e-3)
    assert faces.scores[0] > 0.99


@pytest.mark.parametrize(("height", "width"), [(640, 640), ("height", "width")], ids=["2023", "2026"])
@pytest.mark.parametrize("size", [(64, 64), (37, 53), (480, 200), (70, 640)])
def test_yunet_takes_photos_of_any_size(
    tmp_path: Path, height: int | str, width: int | str, size: tuple[int, int]
) -> None:
    """OpenCV's file of 2023 states a fixed input, that of May 2026 an open one."""
    net = yunet(tmp_path / "net.onnx", height=height, width=width)
    faces = only_face(net, white_cell(2, 5, size=size))
    np.testing.assert_allclose(faces.boxes[0], [44 - 8, 20 - 8, 44 + 8, 20 + 8], atol=1e-3)


@pytest.mark.parametrize("build", [scrfd, yunet])
def test_small_faces_and_photos_without_any(build: type, tmp_path: Path) -> None:
    path = build(tmp_path / "net.onnx")
    photos = [white_cell(2, 5), np.zeros((64, 64, 3), np.uint8)]
    for min_face_px, faces in ((16, [1, 0]), (40, [0, 0])):
        found = load_detector(str(path), min_face_px).detect(photos)
        assert [len(each.faces) for each in found] == faces
        assert [each.detection_pass for each in found] == [1 if count else None for count in faces]
    assert load_detector(str(path), 16).detect([]) == []


def test_the_header_names_the_detector_and_the_journal_holds_to_it(tmp_path: Path) -> None:
    (tmp_path / "photos/ada").mkdir(parents=True)
    for name in ("1.png", "2.png"):
        Image.fromarray(white_cell(3, 3)).save(tmp_path / "photos/ada" / name)
    path = scrfd(tmp_path / "net.onnx")
    settings = AlignSettings(min_face_px=12, detector=str(path))
    summary = align_folder(tmp_path / "photos", tmp_path / "out", settings=settings)
    assert (summary.aligned, summary.second_pass) == (2, 0)
    header = AlignedDataset.load(tmp_path / "out").header
    assert header.detector == described_detector(str(path))
    assert header.detector.startswith("scrfd ")
    assert header.second_pass == "border 0.25"
    begun = json.loads((tmp_path / "out/journal.jsonl").read_text().splitlines()[0])
    assert begun["detector"] == header.detector
    with pytest.raises(InputError, match="same SOURCE and options"):
        align_folder(tmp_path / "photos", tmp_path / "out", settings=AlignSettings(min_face_px=12))


@pytest.mark.parametrize("build", [scrfd, yunet])
def test_a_worker_on_another_machine_reads_the_same_file(
    build: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.fromarray(white_cell(3, 3)).save("photos/1.png")
    Path("out").mkdir()
    settings = AlignSettings(min_face_px=12, detector=str(build(Path("net.onnx"))))
    job, photos = AlignJob(Path("out"), settings, source=Path("photos")), list_photos(Path("photos")).photos
    with Storage.shown(job) as storage:
        order = pickle.dumps(Order(job, storage, "cpu"))
        worker = RemoteWorker("n1")
        assert worker.begin(order) == (READY, "n1")
        kind, content = worker.do(pickle.dumps(list(photos)))
        net = Path("net.onnx").read_bytes()
        Path("net.onnx").write_bytes(net + b"0")
        assert "net.onnx, which node n1 sees otherwise" in str(pickle.loads(worker.begin(order)[1]))
    [row] = pickle.loads(content)
    assert (kind, row["status"], row["crop"]) == (DONE, "aligned", "crops/1.png.jpg")
    assert Path("out", row["crop"]).is_file()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere.onnx", "which is no file"),
        ("text.onnx", "must be mtcnn, or an .onnx file"),
        ("boxes.onnx", "without landmarks"),
        ("other.onnx", "with 1 output"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    scrfd(tmp_path / "boxes.onnx", landmarks=False)
    graph = Graph([1, 3, 64, 64])
    graph.give(
        "embedding", graph.judged(8, np.ones(1, np.float32), np.ones(1, np.float32)), [-1, 1], of=["n", 1]
    )
    graph.saved(tmp_path / "other.onnx")
    with pytest.raises(InputError, match=says):
        kind_of_detector(str(tmp_path / name))


def test_nine_outputs_of_another_network_are_refused(tmp_path: Path) -> None:
    graph = Graph([1, 3, 64, 64])
    for number in range(9):
        one = np.ones(1, np.float32)
        graph.give(f"out{number}", graph.judged(8, one, one), [-1, 1], of=["n", 1])
    with pytest.raises(InputError, match=r"must be SCRFD with landmarks.*none of 4 numbers"):
        load_detector(str(graph.saved(tmp_path / "net.onnx")), 12)
    (tmp_path / "photos").mkdir()
    Image.fromarray(white_cell(3, 3)).save(tmp_path / "photos/1.png")
    settings = AlignSettings(detector=str(tmp_path / "net.onnx"))
    with pytest.raises(InputError, match="none of 4 numbers"):
        align_folder(tmp_path / "photos", tmp_path / "out", settings=settings)
    assert not (tmp_path / "out").exists()
