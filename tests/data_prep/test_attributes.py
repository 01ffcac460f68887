"""What files say of photos and people: each form that people publish, and what is wrong with a torn one."""

from __future__ import annotations

from pathlib import Path

import pytest
from field_formats import write_aligned
from small_faces import write_faces

from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.protocols.attributes import Attributes

_VGG = 'Class_ID, Name, sex\nP00, "A,_Adam", F\nP07, "B_Bob", M\n'


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> AlignedDataset:
    return write_faces(tmp_path_factory.mktemp("data"), people=2, photos=2)


def read(folder: Path, text: str) -> Attributes:
    path = folder / "attributes.txt"
    path.write_text(text)
    return Attributes.read(path)


@pytest.mark.parametrize(
    "text",
    [
        "photo,sex\nP00/P00_0001.jpg,F\nP01/P01_0002.jpg,M\n",
        "\ufeffimage_id;sex\r\nP00_0001.jpg;F\r\nP01_0002.jpg;M\r\n",
        "sex\tfile\nF\tP00/P00_0001\nM\tP01\\P01_0002\n",
        "2\nsex old\nP00_0001.jpg   F  1\nP01_0002.jpg   M -1\n",
        "# made by hand\nphoto,sex\nP00/P00_0001.jpg,F\nP01/P01_0002.jpg,M\n",
        "# of LFW\n#\tperson\timagenum\tsex\nP00\t1\tF\nP01\t2\tM\n",
        "\tphoto\tsex\n0\tP00_0001\tF\n1\tP01_0002\tM\n",
        "name,sex,age\nP00_0001.jpg,F,3\nP01_0002.jpg,M,NA\n",
        "photo,path,sex\nP00_0001.jpg,x/1.jpg,F\nP01_0002.jpg,x/2.jpg,M\n",
        "path,photo,id,sex\nx/1.jpg,P00_0001.jpg,1,F\nx/2.jpg,P01_0002.jpg,2,M\n",
        "# made by me\nphoto,sex\nP00_0001.jpg,F\nP01_0002.jpg,M\n",
        "# a photo per line\n# by me, and others\n\nphoto,sex\nP00_0001.jpg,F\nP01_0002.jpg,M\n",
        'photo,sex\n"P00/P00_0001.jpg",F\nP01/P01_0002.jpg,M\nP09/P09_0001.jpg,F\n\n',
    ],
)
def test_attributes_of_photos(tmp_path: Path, dataset: AlignedDataset, text: str) -> None:
    assert read(tmp_path, text).of(dataset, "sex") == ["F", None, None, "M"]


@pytest.mark.parametrize("text", ["identity,sex\nP00,F\nP01,NaN\n", "name sex\nP00 F\nP07 M\n", _VGG])
def test_attributes_of_people(tmp_path: Path, dataset: AlignedDataset, text: str) -> None:
    assert read(tmp_path, text).of(dataset, "sex") == ["F", "F", None, None]


def test_a_name_with_underscores_is_not_that_with_spaces_where_both_stand(tmp_path: Path) -> None:
    people = write_aligned(
        tmp_path / "data", {f"{name}/1.jpg": b"" for name in ("Ann Lee", "Ann_Lee", "B_C")}
    )
    for lines in (["Ann_Lee,F", "Ann Lee,M"], ["Ann Lee,M", "Ann_Lee,F"]):
        attributes = read(tmp_path, "\n".join(["identity,sex", *lines, "B C,X\n"]))
        assert attributes.of(people, "sex") == ["M", "F", "X"]


def test_accents_of_people_may_be_encoded_in_two_ways(tmp_path: Path) -> None:
    dataset = write_aligned(tmp_path / "data", {"Bjo\u0308rk/1.jpg": b"1", "Ann/1.jpg": b"2"})
    found = read(tmp_path, "identity,sex\nBj\u00f6rk,F\n").of(dataset, "sex")
    assert sorted(map(str, found)) == ["F", "None"]


def test_two_names_that_mean_one_folder_are_refused(tmp_path: Path) -> None:
    people = write_aligned(tmp_path / "data", {f"{name}/1.jpg": b"" for name in ("A_B_C", "D")})
    attributes = read(tmp_path, "identity,sex\nA B_C,F\nA_B C,M\nD,M\n")
    with pytest.raises(InputError, match="must name each identity once; got A B_C and A_B C, which are one"):
        attributes.of(people, "sex")


def test_a_persons_name_with_spaces_is_that_of_the_folder(tmp_path: Path) -> None:
    attributes = read(tmp_path, "#\tperson\timagenum\tMale\nAaron Eckhart\t1\t1.5\n")
    assert attributes.keys == ("Aaron_Eckhart/Aaron_Eckhart_0001",)
    assert attributes.columns == {"Male": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("photo,sex\na.jpg,F\nb.jpg\n", "line 3: must have 2 fields, as the header has; got 1: 'b.jpg'"),
        ("photo,sex\na.jpg,F\nb.jpg,F,9\n", "line 3: must have 2 fields"),
        ("3\nsex old\na.jpg 1 1\nb.jpg 1 1\n", "got 2 photos, although its first line says 3,"),
        ("\N{SUPERSCRIPT TWO}\nsex old\na.jpg 1 1\nb.jpg 1 1\n", "got first line"),
        ("2\nsex old\na.jpg 1 1\nb.jpg 1\n", "line 4: must have 3 fields"),
        ("photo,sex\na.jpg,F\na.jpg,F\n", "line 3: must name each photo once; got a.jpg, as in line 2"),
        ("identity,sex\nA,F\nB,F\nA,M\n", "line 4: must name each identity once; got A, as in line 2"),
        ("photo,sex,age,sex\na.jpg,F,3,M\n", "must name each column once; got sex twice"),
        ("photo,sex\n", "its header alone"),
        ("photo,\na.jpg,\n", "the columns photo"),
        ("age,sex\n3,F\n", "got first line 'age,sex'"),
        ("# a note by people on photo files\nleft,right,same\na,b,1\n", "got first line '# a note by"),
        ("", "an empty file"),
        ("# made by me\n# and others\n", "got first line '# made by me'"),
        ('photo,sex\n"a.jpg,F\n', "line 2"),
    ],
)
def test_broken_files_are_one_error(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)


def test_other_bytes_and_no_file_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"photo,sex\nM\xfcller,F\n")
    with pytest.raises(InputError, match="other bytes from number 12"):
        Attributes.read(tmp_path / "a")
    (tmp_path / "a").write_bytes("photo,sex\na.jpg,F\n".encode("utf-16-le"))
    with pytest.raises(InputError, match="a zero byte, as in UTF-16"):
        Attributes.read(tmp_path / "a")
    (tmp_path / "a").write_text("photo," + "x" * 200_000 + "\na.jpg,F\n")
    assert len(Attributes.read(tmp_path / "a").columns) == 1
    with pytest.raises(InputError, match="got no file"):
        Attributes.read(tmp_path / "b")


def test_a_file_of_other_data_is_refused(tmp_path: Path, dataset: AlignedDataset) -> None:
    with pytest.raises(
        InputError, match=r"must say something of the photo of the data set, such as P00/P00_"
    ):
        read(tmp_path, "photo,sex\nQ/9.jpg,F\n").of(dataset, "sex")
    with pytest.raises(InputError, match=r"must name each photo once; got P00_0001 and P00/P00_0001\.jpg"):
        read(tmp_path, "photo,sex\nP00_0001,F\nP00/P00_0001.jpg,M\n").of(dataset, "sex")
