"""Lists as people publish them: read by stated rules, or refused with the first line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.errors import InputError
from data_prep.protocols import VerificationProtocol, find_rows, protocol_alone
from data_prep.protocols.own_lists import fingerprint
from data_prep.protocols.photo_names import common_folder
from data_prep.protocols.suite_lists import find_lists

PAIRS = [
    ("Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", True),
    ("Ann/Ann_0001.jpg", "Bo/Bo_0001.jpg", False),
    ("Bo/Bo_0001.jpg", "Bo/Bo_0002.jpg", True),
    ("Bo/Bo_0002.jpg", "Cy/Cy_0001.jpg", False),
]


def write(folder: Path, text: str, name: str = "list.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def same_pairs(protocol: VerificationProtocol) -> bool:
    return list(zip(protocol.left, protocol.right, protocol.same.tolist(), strict=True)) == PAIRS


@pytest.mark.parametrize("order", ["as they are", "genuine first"])
@pytest.mark.parametrize("sign", ["\t", ",", ";", "|", " ", "   ", ", ", " \t"])
@pytest.mark.parametrize("words", ["1 0", "1 -1", "True False", "same diff", "genuine impostor", "1.0 0.0"])
def test_separators_and_labels(tmp_path: Path, sign: str, words: str, order: str) -> None:
    same, different = words.split()
    pairs = PAIRS if order == "as they are" else sorted(PAIRS, key=lambda pair: not pair[2])
    lines = [sign.join([left, right, same if kind else different]) for left, right, kind in pairs]
    protocol = protocol_alone(write(tmp_path, "\n".join(lines)))
    assert list(zip(protocol.left, protocol.right, protocol.same.tolist(), strict=True)) == pairs
    assert f"{same.lower()} is the same person" in protocol.reading
    assert "no header: the label is the last of three fields" in protocol.reading


def test_the_label_may_come_first(tmp_path: Path) -> None:
    lines = [f"{int(kind)}\t{left}\t{right}" for left, right, kind in PAIRS]
    protocol = protocol_alone(write(tmp_path, "\r\n".join(lines)))
    assert same_pairs(protocol)
    assert "the label is the first of three fields" in protocol.reading


@pytest.mark.parametrize(
    "header",
    [
        "left,right,same",
        "image1,image2,label",
        "path_a;path_b;is_same",
        "img1\timg2\tmatch",
        "First,Second,Y",
        "p1,p2,label",
        "reference,probe,genuine",
        "anchor,other,decision",
        "#left,right,same",
        "# left right same",
    ],
)
def test_headers(tmp_path: Path, header: str) -> None:
    sign = next(sign for sign in "\t;, " if sign in header)
    lines = [header, *(sign.join([left, right, str(int(kind))]) for left, right, kind in PAIRS)]
    text = "\ufeff" + "\r\n".join(lines) + "\r\n"
    protocol = protocol_alone(write(tmp_path, text))
    assert same_pairs(protocol)
    assert f"columns {', '.join(header.strip('# ').split(sign))};" in protocol.reading


@pytest.mark.parametrize(
    "above",
    [
        "# pairs of my people",
        "# left and right photo, same or not",
        "# left,right,same\n\n#second line of it",
        "#\n# of,three,fields\n#",
    ],
)
@pytest.mark.parametrize("header", ["left,right,same", ""])
def test_comments_above_a_list_are_no_part_of_it(tmp_path: Path, above: str, header: str) -> None:
    lines = [above, header, *(f"{left},{right},{int(kind)}" for left, right, kind in PAIRS)]
    assert same_pairs(protocol_alone(write(tmp_path, "\ufeff" + "\r\n".join(lines))))
    lines.append("a.jpg")
    with pytest.raises(InputError, match=rf"line {above.count(chr(10)) + 7}: must be two photos"):
        protocol_alone(write(tmp_path, "\n".join(lines)))


def test_comments_above_numbered_photos(tmp_path: Path) -> None:
    text = "\n".join(["# as published", "2\t2", *numbered("\t")])
    assert protocol_alone(write(tmp_path, text)).fold_rule == "2 sets of 2 + 2 pairs, in file order"


@pytest.mark.parametrize("name", ["", "#"])
def test_row_numbers_are_no_photos(tmp_path: Path, name: str) -> None:
    path = tmp_path / "pandas.csv"
    rows = [f"{i},a{i}.jpg,b{i}.jpg,{i % 2}" for i in range(4)]
    path.write_text("\n".join([f"{name},image1,image2,label", *rows]), encoding="utf-8")
    protocol = protocol_alone(path)
    assert protocol.left == ("a0.jpg", "a1.jpg", "a2.jpg", "a3.jpg")
    assert protocol.same.tolist() == [False, True, False, True]


def test_of_several_columns_of_names_those_count_that_tell_most_photos_apart(tmp_path: Path) -> None:
    header = "pair_id,fold_id,is_same,image_a,image_b,image_a_path,image_b_path"
    lines = [
        f"{i},{i // 2 + 1},{int(kind)},{left.split('/')[1]},{right.split('/')[1]},{left},{right}"
        for i, (left, right, kind) in enumerate(PAIRS)
    ]
    protocol = protocol_alone(write(tmp_path, "\n".join([header, *lines])))
    assert protocol.left[0] == "Ann_0001.jpg"  # as good as the path, and independent of the folders
    assert (protocol.fold.tolist(), protocol.fold_rule) == ([1, 1, 2, 2], "2 folds, from the column fold_id")
    assert "columns image_a, image_b, is_same, fold_id, without pair_id, image_a_path" in protocol.reading
    by_number = [line.replace("Ann_0", "0").replace("Bo_0", "0").replace("Cy_0", "0") for line in lines]
    protocol = protocol_alone(write(tmp_path, "\n".join([header, *by_number])))
    assert protocol.left[0] == "Ann/0001.jpg"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (r"Ann\Ann_0001.jpg", "backslashes separate folders"),
        ("/home/me/lfw/Ann/Ann_0001.jpg", "without /home/me/lfw/, where all names begin"),
        (r"C:\data\lfw\Ann\Ann_0001.jpg", "without C:/data/lfw/, where all names begin"),
        ("./Ann/Ann_0001.jpg", "no header"),
    ],
)
def test_names_of_another_machine(tmp_path: Path, names: str, said: str) -> None:
    def named(photo: str) -> str:
        return names.replace("Ann_0001.jpg", Path(photo).name).replace("Ann", Path(photo).parent.name, 1)

    lines = [f"{named(left)},{named(right)},{int(kind)}" for left, right, kind in PAIRS]
    protocol = protocol_alone(write(tmp_path, "\n".join(lines)))
    assert same_pairs(protocol)
    assert said in protocol.reading


def test_names_of_two_machines_keep_all_but_the_root(tmp_path: Path) -> None:
    lines = [f"/data/{left},C:/lfw/{right},{int(kind)}" for left, right, kind in PAIRS]
    protocol = protocol_alone(write(tmp_path, "\n".join(lines)))
    assert (protocol.left[0], protocol.right[0]) == ("data/Ann/Ann_0001.jpg", "lfw/Ann/Ann_0002.jpg")


def test_the_columns_of_photos_are_not_those_of_people(tmp_path: Path) -> None:
    """As in BFW's table of pairs."""
    lines = ["ID,fold,p1,p2,label,id1,id2,att1,att2"]
    lines += [
        f"{number},{number // 2},{left},{right},{int(kind)},{number},{number},f,f"
        for number, (left, right, kind) in enumerate(PAIRS)
    ]
    protocol = protocol_alone(write(tmp_path, "\n".join(lines)))
    assert same_pairs(protocol)
    assert protocol.fold.tolist() == [0, 0, 1, 1]


def test_a_header_of_unknown_names_is_no_pair(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got first line 'enrolled,tried,same'. Write a pair per line"):
        protocol_alone(write(tmp_path, "enrolled,tried,same\na.jpg,b.jpg,1\na.jpg,c.jpg,0\n" * 2))


def test_empty_lines_may_set_folds_apart(tmp_path: Path) -> None:
    lines = [f"{left} {right} {int(kind)}" for left, right, kind in PAIRS]
    text = "\n".join([*lines[:2], "", *lines[2:], "", "", *lines[:2]])
    protocol = protocol_alone(write(tmp_path, f"{text}\n\n"))
    assert (protocol.fold.tolist(), protocol.fold_rule) == (
        [0, 0, 1, 1, 2, 2],
        "3 folds, which empty lines set apart",
    )
    for other in (
        [*lines[:1], "", *lines[1:]],  # of other lengths
        [lines[0], lines[2], "", lines[1], lines[3]],  # one kind in each
    ):
        assert protocol_alone(write(tmp_path, "\n".join(other))).fold_rule.startswith(
            "no fold column: the i-th"
        )


def test_names_with_commas_and_spaces(tmp_path: Path) -> None:
    lines = ['"Lee, Ann/1.jpg",Bo/1.jpg,1', '"Lee, Ann/1.jpg",My dog/1.jpg,0'] * 2
    assert protocol_alone(write(tmp_path, "\n".join(lines))).left[0] == "Lee, Ann/1.jpg"
    lines = [line.replace('"', "").replace(",1", "\t1").replace(",0", "\t0") for line in lines]
    lines = [line.replace(",Bo", "\tBo").replace(",My", "\tMy") for line in lines]
    protocol = protocol_alone(write(tmp_path, "\n".join(lines)))
    assert (protocol.left[0], protocol.right[1]) == ("Lee, Ann/1.jpg", "My dog/1.jpg")


@pytest.mark.parametrize(
    "line",
    [
        "My dog/1.jpg Bo/1.jpg 1",  # four fields
        "Ann/1.jpg Bo/1.jpg",  # no label
        "Ann/1.jpg Bo/1.jpg 0.73",  # a score
        "17 23 1",  # templates by number
        "photo,person",
        "Chapter 1",
    ],
)
def test_what_is_no_list_shows_its_first_line_and_what_to_do(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError) as raised:
        protocol_alone(write(tmp_path, f"\n{line}\n{line}\n"))
    assert f"got first line {line!r}. Write a pair per line" in str(raised.value)


@pytest.mark.parametrize("line", ["a.jpg,b.jpg", "a.jpg,b.jpg,2", "a.jpg,b.jpg,same", "a.jpg,,1", "a,b,c,1"])
def test_a_line_unlike_the_others_is_named(tmp_path: Path, line: str) -> None:
    lines = [f"{left},{right},{int(kind)}" for left, right, kind in PAIRS]
    with pytest.raises(InputError, match=r"list\.txt, line 5: must be two photos and 1 for the same person"):
        protocol_alone(write(tmp_path, "\n".join([*lines, line])))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_list_as_excel_saves_unicode_text(tmp_path: Path, encoding: str) -> None:
    names = [("Zoë/ą ć.jpg", "Zoë/2.jpg", 1), ("a/1.jpg", "a/2.jpg", 1), ("a/1.jpg", "Zoë/2.jpg", 0)]
    rows = [*names, ("a/2.jpg", "Zoë/2.jpg", 0)]
    text = "\r\n".join(["left\tright\tsame", *("\t".join(map(str, row)) for row in rows)]) + "\r\n"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path = tmp_path / "list.txt"
    path.write_bytes((mark + text).encode(encoding))
    protocol = protocol_alone(path)
    assert [*zip(protocol.left, protocol.right, protocol.same.tolist(), strict=True)] == rows
    path.write_bytes(path.read_bytes()[:-1])  # torn
    with pytest.raises(InputError, match=r"in UTF-8 text; .* save it again as UTF-8"):
        protocol_alone(path)


def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    for name in ("../Ann.jpg", "Ann/../../b.jpg", r"..\Ann.jpg"):
        with pytest.raises(InputError, match="line 2: a photo's name must stay inside"):
            protocol_alone(write(tmp_path, f"a.jpg,b.jpg,1\n{name},b.jpg,0\n" * 2))


# --- LFW's form without LFW's counts


KINDS = "GGII" * 2


def numbered(sign: str, *, kinds: str = KINDS) -> list[str]:
    lines = {"G": sign.join(["m.0ab", "1", "2"]), "I": sign.join(["m.0ab", "1", "m.0cd", "12"])}
    return [lines[kind] for kind in kinds]


@pytest.mark.parametrize("sign", ["\t", ",", " ", ";"])
@pytest.mark.parametrize("header", [None, "name,imagenum1,imagenum2,", "10 300"])
def test_numbers_count_the_photos_of_a_name(tmp_path: Path, sign: str, header: str | None) -> None:
    lines = numbered(sign)
    if header is not None:
        lines.insert(0, header.replace("10 300", "2 2").replace(" ", sign).replace(",", sign))
    protocol = protocol_alone(write(tmp_path, "\r\n".join(lines), "African_pairs.txt"))
    assert (protocol.name, len(protocol)) == ("African_pairs", 8)
    assert (protocol.left[0], protocol.right[0]) == ("m.0ab/m.0ab_0001", "m.0ab/m.0ab_0002")
    assert protocol.right[2] == "m.0cd/m.0cd_0012"
    assert protocol.fold_rule == "2 sets of 2 + 2 pairs, in file order"
    assert protocol.reading.startswith("a list in LFW's form, not LFW's own")


def test_kinds_in_another_order_are_dealt(tmp_path: Path) -> None:
    for kinds in ("GGGIII", "IIGGIIGG", "GIGIGI" * 10, "GGIIGGIG"):
        path = write(tmp_path, "\n".join(numbered("\t", kinds=kinds)))
        assert protocol_alone(path).fold_rule.startswith("no sets: the i-th genuine")


def test_kaggles_pairs_csv_is_read_as_lfws_sets(tmp_path: Path) -> None:
    rows = [row if row.count(",") == 3 else f"{row}," for row in numbered(",", kinds="GGIIGGII")]
    path = write(tmp_path, "\n".join(["name,imagenum1,imagenum2,", *rows]), "pairs.csv")
    protocol = protocol_alone(path)
    assert protocol.same.tolist() == [True, True, False, False] * 2
    assert protocol.fold_rule == "2 sets of 2 + 2 pairs, in file order"


HALVES = {
    "match": ("name,imagenum1,imagenum2", "G"),
    "mismatch": ("name,imagenum1,name.1,imagenum2.1", "I"),
}


def write_halves(folder: Path, ending: str, *, pairs: int = 4) -> list[Path]:
    """Both kinds of pairs, as Kaggle publishes them."""
    return [
        write(folder, "\n".join([header, *numbered(",", kinds=kind * pairs)]), f"{word}{ending}")
        for word, (header, kind) in HALVES.items()
    ]


@pytest.mark.parametrize("given", [0, 1])
def test_two_halves_of_a_list_are_joined_whichever_is_given(tmp_path: Path, given: int) -> None:
    halves = write_halves(tmp_path, "pairsDevTest.csv")
    protocol = protocol_alone(halves[given])
    assert protocol.same.tolist() == [True] * 4 + [False] * 4
    assert protocol.name == "matchpairsDevTest"
    assert protocol.fold_rule.startswith("no sets: the i-th genuine")
    halves[1 - given].write_text(halves[1 - given].read_text() + "\n" + numbered(",", kinds="GI")[1 - given])
    assert protocol_alone(halves[given]).sha256 != protocol.sha256


def test_two_halves_of_view_1_choose_the_threshold_on_its_training_half(tmp_path: Path) -> None:
    test, _ = write_halves(tmp_path, "pairsDevTest.csv", pairs=3)
    write_halves(tmp_path, "pairsDevTrain.csv", pairs=5)
    protocol = protocol_alone(test)
    assert (protocol.fold.tolist(), protocol.scored_folds) == ([0] * 10 + [1] * 6, (1,))
    rule = "threshold from matchpairsDevTrain.csv and mismatchpairsDevTrain.csv (5 + 5), scored on "
    assert protocol.fold_rule == f"{rule}matchpairsDevTest.csv and mismatchpairsDevTest.csv (3 + 3)"
    [listed] = find_lists(tmp_path, allow_partial=False, aligned=[])
    assert listed.path == test


@pytest.mark.real_data
def test_lfws_view_1_in_halves_is_lfws_view_1(shared: Path, tmp_path: Path) -> None:
    for part in ("DevTrain", "DevTest"):
        _, *rows = (shared / f"data/lfw/pairs{part}.txt").read_text().splitlines()
        for (word, (header, _)), fields in zip(HALVES.items(), (3, 4), strict=True):
            own = [row.replace("\t", ",") for row in rows if len(row.split()) == fields]
            (tmp_path / f"{word}pairs{part}.csv").write_text("\n".join([header, *own]))
    assert protocol_alone(tmp_path / "mismatchpairsDevTest.csv").name == "lfw-view1"


@pytest.mark.parametrize(("word", "missing"), [("match", "mismatch"), ("mismatch", "match")])
def test_half_a_list_says_how_the_other_half_is_called(tmp_path: Path, word: str, missing: str) -> None:
    halves = dict(zip(HALVES, write_halves(tmp_path, "pairs.csv"), strict=True))
    halves[missing].unlink()
    said = rf"a name that begins with {word} goes with one that begins with {missing} and"
    with pytest.raises(InputError, match=said):
        protocol_alone(halves[word])
    write(tmp_path, halves[word].read_text(), f"{missing}pairs.csv")
    with pytest.raises(InputError, match=rf"{missing}pairs\.csv: must hold genuine pairs .* pairs alone"):
        protocol_alone(halves[word])


def test_single_quotes_are_quotes(tmp_path: Path) -> None:
    lines = [f"'{left}', '{right}', {int(kind)}" for left, right, kind in PAIRS]
    assert same_pairs(protocol_alone(write(tmp_path, "\n".join(lines))))


def test_utf_16_without_its_mark_is_named(tmp_path: Path) -> None:
    text = "\n".join(["left,right,same", *(f"{left},{right},{int(kind)}" for left, right, kind in PAIRS)])
    (tmp_path / "list.csv").write_bytes(text.encode("utf-16-le"))
    with pytest.raises(InputError, match=r"line 1: must be text in UTF-8; got a zero byte, as in UTF-16"):
        protocol_alone(tmp_path / "list.csv")


@pytest.mark.parametrize(
    "text", ['[{"left": "a", "right": "b", "same": 1}]', '{"left": "a"}\n{"left": "b"}\n', "[\n1]"]
)
def test_json_is_refused_with_the_form_of_a_list(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"must be a list of pairs.* first line .* Write a pair per line"):
        protocol_alone(write(tmp_path, text))


# --- whose list it is


def test_the_fingerprint_is_of_the_pairs_and_not_of_the_file(tmp_path: Path) -> None:
    def printed(text: str) -> str:
        protocol = protocol_alone(write(tmp_path, text))
        return fingerprint(protocol.left, protocol.right, protocol.same, protocol.fold)

    rows = [
        *numbered("\t", kinds="GGII"),
        *(row.replace("0ab", "0xy") for row in numbered("\t", kinds="GGII")),
    ]
    text = "\n".join(["2\t2", *rows])
    assert printed(text) == printed("\ufeff" + text.replace("\n", "\r\n") + "\r\n\r\n")
    assert printed(text) == printed("\n".join(rows).replace("\t", ","))
    assert printed(text) != printed("\n".join(["2\t2", rows[1].replace("2", "3"), *rows[1:]]))
    assert printed(text) != printed("\n".join(["2\t2", *rows[4:], *rows[:4]]))


def test_a_list_that_claims_to_be_lfws_keeps_its_ending(tmp_path: Path) -> None:
    for name in ("lfw.txt", "lfw-view2.txt", "pairs_lfw.txt", "LFW_pairs.txt"):
        assert protocol_alone(write(tmp_path, "\n".join(numbered("\t")), name)).name == name
    assert protocol_alone(write(tmp_path, "\n".join(numbered("\t")), "xqlfw_pairs.txt")).name == "xqlfw_pairs"


@pytest.mark.real_data
def test_lfws_own_list_is_known_in_every_form(shared: Path, tmp_path: Path) -> None:
    text = (shared / "data/lfw/pairs.txt").read_text()
    header, *rows = text.splitlines()
    own = protocol_alone(shared / "data/lfw/pairs.txt")
    table = [
        f"/data/lfw/{left}.jpg,/data/lfw/{right}.jpg,{same}"
        for left, right, same in zip(own.left, own.right, own.same.tolist(), strict=True)
    ]
    for each in (
        text.replace("\n", "\r\n"),
        "\n".join(["name,imagenum1,imagenum2,", *(row.replace("\t", ",") for row in rows)]),
        "\n".join(["left,right,same", *table]),
    ):
        protocol = protocol_alone(write(tmp_path, each))
        assert (protocol.name, protocol.fold.tolist()) == ("lfw-view2", own.fold.tolist())
    for other in ([*rows[600:], *rows[:600]], [*rows[1:300], rows[0], *rows[300:]]):
        assert protocol_alone(write(tmp_path, "\n".join([header, *other]))).name == "list"


# --- the same two lines a pair under other names


@pytest.mark.parametrize(
    ("name", "flag", "called"),
    [
        ("pairs_CALFW.txt", 3, "calfw"),
        ("CALFW_pairs.txt", 3, "calfw"),
        ("pairs_CPLFW.txt", 1, "cplfw"),
        ("pairs_CPLFW.txt", 3, "pairs_CPLFW"),  # CPLFW has no folds: this is another list
        ("pair_SLLFW.txt", 1, "pair_SLLFW"),
        ("pairs_lfw.txt", 1, "pairs_lfw.txt"),
    ],
)
def test_two_lines_are_called_by_name_and_flags(tmp_path: Path, name: str, flag: int, called: str) -> None:
    pairs = f"a_1.jpg {flag}\na_2.jpg {flag}\na_1.jpg 0\nb_1.jpg 0\n" * 4
    protocol = protocol_alone(write(tmp_path, pairs, name), allow_partial=True)
    assert protocol.name == called
    assert (protocol.partial is not None) == (called in ("calfw", "cplfw"))


# --- names and the photos of a data set


def test_shared_folders_of_a_list_may_be_missing_in_the_data(tmp_path: Path) -> None:
    from test_protocols import dataset_of as make

    dataset = make(tmp_path, ["Ann/1.jpg", "Bo/1.png", "notes/deep/Cy.jpg"])
    keys = ["images/all/Ann/1.jpg", "images/all/Bo/1.jpg"]
    assert find_rows(keys, dataset).tolist() == [0, 1]
    with pytest.raises(InputError, match="missing: images/Ann/1"):
        find_rows(["images/Ann/1", "other/Bo/1"], dataset)
    assert common_folder(["a/b/1", "a/c/2"]) == "a"
    assert common_folder(["a/1", "b/1"]) == common_folder([]) == ""
