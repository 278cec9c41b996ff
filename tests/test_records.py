"""The checks' records: what is kept beside a notebook, shown at its end, handed in, and collected by a teacher."""

import codecs
import csv
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import answers.clip
import answers.combined
import nbformat
import pytest
import torch
from lessons import NOTEBOOKS, cells, lesson
from nbclient import NotebookClient

from xlib.course import checks
from xlib.course.checks import engine, handed_in, records

RIGHT, WRONG = ([*answers.clip.RIGHT, *answers.combined.RIGHT], [*answers.clip.WRONG, *answers.combined.WRONG])


def started(patch, folder):
    """From here on it is as if a kernel had just been started in the folder. None: as in a plain script."""
    shell = SimpleNamespace(kernel=True, starting_dir=str(folder)) if folder else None
    patch.setattr(records, "get_ipython", lambda: shell)
    patch.setattr(records, "UNKEPT", {})
    patch.setattr(engine, "PASSED", set())
    return folder


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """kernel(folder) starts another one than that in tmp_path."""
    monkeypatch.chdir(tmp_path)
    started(monkeypatch, tmp_path)
    return lambda folder: started(monkeypatch, folder)


def solve(exercise):
    assert getattr(checks, exercise)(next(answer for name, answer, *_ in RIGHT if name == exercise)).passed


def fail(exercise):
    assert not getattr(checks, exercise)(next(answer for name, answer, *_ in WRONG if name == exercise)).passed


def kept(folder):
    return json.loads((folder / records.NAME).read_text("utf-8"))["exercises"]


def at(monkeypatch, time):
    """Let the clock stand at this time."""
    clock = SimpleNamespace(now=lambda zone: records.datetime.strptime(time, records.TIME))
    monkeypatch.setattr(records, "datetime", SimpleNamespace(now=clock.now, strptime=records.datetime.strptime))


# -- the list of exercises


@pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
def test_the_list_agrees_with_the_lessons_and_each_ends_with_its_record(name):
    of_lesson = cells(name)
    code = "\n".join(cell.source for cell in of_lesson if cell.cell_type == "code")
    prose = "\n".join(cell.source for cell in of_lesson if cell.cell_type == "markdown")
    found = re.findall(r"^checks\.(\w+)\(", code, re.M)
    titles = re.findall(r"^### Exercise \d+ · (.+?)\s+[●○]{3} · \d+ minutes$", prose, re.M)
    assert list(records.LESSONS.get(name, {}).items()) == list(zip(found, titles, strict=True))
    ends = [cell.source for cell in of_lesson if cell.id == "my-record"]
    assert [source.splitlines()[-1] for source in ends] == [f'progress("{name}")'] * bool(found)
    assert of_lesson[-1].id == "summary"
    assert not found or of_lesson[-2].id == "my-record"


def test_no_exercise_stands_in_two_lessons_and_all_have_a_check():
    names = [exercise for one in records.LESSONS.values() for exercise in one]
    assert len(names) == len(set(names)) > 30
    assert set(names) == set(checks.__all__) - {"Result", "collect", "hand_in", "progress"}
    assert len({lesson[:2] for lesson in records.LESSONS}) == len(records.LESSONS)  # a column's name


# -- keeping


def test_tries_are_counted_and_what_is_solved_stays_solved(kernel, tmp_path, monkeypatch):
    at(monkeypatch, "2026-01-31T12:00Z")
    fail("clip_loss")
    assert kept(tmp_path) == {"clip_loss": {"solved": None, "tries": 1, "course": "0.1.0"}}
    solve("clip_loss")
    at(monkeypatch, "2026-02-01T08:30Z")
    monkeypatch.setattr(records, "version", lambda: "0.2.0")
    fail("clip_loss")
    solve("clip_loss")
    fail("gap_closed")
    assert kept(tmp_path) == {
        "clip_loss": {"solved": "2026-01-31T12:00Z", "tries": 4, "course": "0.1.0"},
        "gap_closed": {"solved": None, "tries": 1, "course": "0.2.0"},
    }
    assert [path.name for path in tmp_path.iterdir()] == [records.NAME]


def test_the_time_is_that_of_now_in_utc(kernel, tmp_path):
    before = records.datetime.now(records.timezone.utc).strftime(records.TIME)
    solve("gap_closed")
    after = records.datetime.now(records.timezone.utc).strftime(records.TIME)
    assert before <= kept(tmp_path)["gap_closed"]["solved"] <= after


def test_a_stub_and_what_is_no_function_write_nothing(kernel, tmp_path):
    assert checks.gap_closed(lambda source_only, adapted, oracle: None).unsolved
    assert checks.fixed_loss(lesson("03_clip").stub("fixed_loss")).unsolved  # which is no empty one
    checks.gap_closed(torch.tensor(0.5))
    assert list(tmp_path.iterdir()) == []


def test_outside_a_kernel_nothing_is_written(kernel, tmp_path):
    kernel(None)
    solve("gap_closed")
    fail("clip_loss")
    assert list(tmp_path.iterdir()) == []


def test_a_lesson_that_goes_elsewhere_keeps_its_record(kernel, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    solve("gap_closed")
    assert list(kept(tmp_path)) == ["gap_closed"]


def test_lessons_that_are_open_at_once_lose_nothing(kernel, tmp_path):
    names = [exercise for one in records.LESSONS.values() for exercise in one][:4]
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda i: records.keep(names[i % 4], solved=i >= 60), range(64)))
    assert said == [""] * 64
    assert {name: entry["tries"] for name, entry in kept(tmp_path).items()} == dict.fromkeys(names, 16)
    assert records.solved() == set(names)


GOOD = '{"solved": null, "tries": 1, "course": "0.1.0"}'
DAMAGED = {
    "empty": "",
    "cut off": '{"format": 1, "exercises": {"clip_loss": {"sol',
    "no UTF-8": b"\xff\xfe\x00",
    "deep": "[" * 100_000,
    "a list": "[]",
    "another format": '{"format": 0, "exercises": {}}',
    "no format": '{"format": "2", "exercises": {}}',
    "no exercises": '{"format": 1, "exercises": []}',
    "no entry": '{"format": 1, "exercises": {"clip_loss": 1}}',
    "no name": f'{{"format": 1, "exercises": {{"=1+1": {GOOD}}}}}',
    "no count": f'{{"format": 1, "exercises": {{"clip_loss": {GOOD.replace("1,", "-1,")}}}}}',
    "true": f'{{"format": 1, "exercises": {{"clip_loss": {GOOD.replace("1,", "true,")}}}}}',
    "no number": f'{{"format": 1, "exercises": {{"clip_loss": {GOOD.replace("1,", "NaN,")}}}}}',
    "no time": f'{{"format": 1, "exercises": {{"clip_loss": {GOOD.replace("null", chr(34) + "soon" + chr(34))}}}}}',
    "no version": f'{{"format": 1, "exercises": {{"clip_loss": {GOOD.replace(chr(34) + "0.1.0" + chr(34), "1")}}}}}',
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_record_is_set_aside_and_said(kernel, tmp_path, what, capsys):
    text = DAMAGED[what] if isinstance(DAMAGED[what], bytes) else DAMAGED[what].encode()
    (tmp_path / records.NAME).write_bytes(text)
    records.progress("03_clip")
    checks.hand_in()
    printed = capsys.readouterr().out
    assert printed.count(f"{records.NAME} cannot be read (") == 2
    assert "Nothing was written." in printed
    solve("gap_closed")
    message, said = capsys.readouterr().out.splitlines()
    assert message.startswith("✓ gap_closed: ")
    assert said.startswith(f"{records.NAME} cannot be read (")
    assert said.endswith("It is now solved_exercises.damaged.json, and a new record begins.")
    assert list(kept(tmp_path)) == ["gap_closed"]
    assert (tmp_path / "solved_exercises.damaged.json").read_bytes() == text
    solve("gap_closed")
    assert len(capsys.readouterr().out.splitlines()) == 1  # said once


NEWER = '{"format": 2, "exercises": {"clip_loss": "as nobody knows yet"}}'


def test_a_record_of_a_newer_version_is_kept_and_not_called_damaged(kernel, tmp_path, capsys):
    (tmp_path / records.NAME).write_text(NEWER)
    solve("gap_closed")
    said = capsys.readouterr().out.splitlines()[1]
    assert "(a newer version of the course wrote it: update this one)" in said
    assert "damage" not in said.replace("solved_exercises.damaged.json", "")
    assert (tmp_path / "solved_exercises.damaged.json").read_text() == NEWER


def test_a_second_damaged_record_does_not_take_the_place_of_the_first(kernel, tmp_path):
    for text in ("one", "two", "three"):
        (tmp_path / records.NAME).write_text(text)
        fail("gap_closed")
    aside = ["solved_exercises.damaged.json", "solved_exercises.damaged-2.json", "solved_exercises.damaged-3.json"]
    assert [(tmp_path / name).read_text() for name in aside] == ["one", "two", "three"]


def test_where_nothing_can_be_written_the_check_works_and_says_so_once(kernel, tmp_path, capsys, monkeypatch):
    folder = kernel(tmp_path / "file")
    folder.write_text("no folder")
    solve("gap_closed")
    message, said = capsys.readouterr().out.splitlines()
    assert message.startswith("✓ gap_closed: ")
    assert said.startswith("No record is kept of what you solve: solved_exercises.json cannot be written beside the ")
    assert said.endswith("Copy the lesson into a folder that you may write to, and work there.")
    solve("clip_loss")
    fail("recall_at_k")
    assert len(capsys.readouterr().out.splitlines()) == 2
    records.progress("03_clip")
    shown = capsys.readouterr().out
    assert "The other question                                         ✓ solved" in shown
    assert "✗ tried (1)" in shown
    assert "solved_exercises.json cannot be written here, so this is forgotten when the kernel stops." in shown
    with monkeypatch.context() as patch:
        patch.setattr(records, "_damage", lambda: "")
        patch.setattr(records, "_read", lambda path: {})  # of a folder where nothing can be written
        checks.hand_in()
    shown = capsys.readouterr().out
    assert re.match(r"hand_in_\w{8}\.json cannot be written beside the notebook \(.+\)\. Copy the lesson ", shown)
    assert shown.endswith("Nothing was written.\n")
    folder.unlink()
    folder.mkdir()  # it can be written again
    path = hand_in(folder)
    assert content_of(path)["exercises"].keys() == {"gap_closed", "clip_loss", "recall_at_k"}  # and is not forgotten
    capsys.readouterr()
    fail("recall_at_k")
    assert {name: entry["tries"] for name, entry in kept(folder).items()} == {
        "gap_closed": 1, "clip_loss": 1, "recall_at_k": 2,
    }  # fmt: skip
    assert len(capsys.readouterr().out.splitlines()) == 1
    records.progress("03_clip")
    assert "cannot be written" not in capsys.readouterr().out


def test_a_full_disk_leaves_the_record_as_it_was(kernel, tmp_path, monkeypatch, capsys):
    fail("gap_closed")
    before = (tmp_path / records.NAME).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(records.json, "dumps", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
        solve("gap_closed")
    assert "(No space left)" in capsys.readouterr().out
    assert (tmp_path / records.NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [records.NAME]
    assert records.solved() == {"gap_closed"}


# -- showing


def test_the_end_of_a_lesson_shows_solved_tried_and_open_of_earlier_days_too(kernel, tmp_path, monkeypatch, capsys):
    at(monkeypatch, "2026-01-31T23:59Z")
    solve("clip_loss")
    at(monkeypatch, "2026-02-01T08:30Z")
    kernel(tmp_path)  # the next day
    solve("fixed_loss")
    fail("recall_at_k")
    fail("recall_at_k")
    capsys.readouterr()
    checks.progress("03_clip")
    assert capsys.readouterr().out.splitlines() == [
        "exercise                                                       state        first solved",
        "-------------------------------------------------------------  -----------  ------------",
        "1 · The other question                                         ✓ solved     2026-01-31",
        "2 · Recall, and the model that answers the same to everything  ✗ tried (2)",
        "3 · A classifier out of words                                  · open",
        "4 · Find three bugs                                            ✓ solved     2026-02-01",
        "What you solve is kept in solved_exercises.json beside the notebook, without your name and code. "
        "To hand it in, run `checks.hand_in()` in a cell of its own.",
    ]


def test_a_verdict_counts_what_was_solved_on_earlier_days(kernel, tmp_path, monkeypatch):
    pages = []
    monkeypatch.setattr(engine.report, "output", lambda text, page: pages.append(page))
    solve("clip_loss")
    kernel(tmp_path)  # the next day
    fail("fixed_loss")
    solve("fixed_loss")
    solve("gap_closed")
    assert [re.search(r"\d of \d solved", page)[0] for page in pages] == [
        "1 of 4 solved", "1 of 4 solved", "2 of 4 solved", "1 of 5 solved",
    ]  # fmt: skip


def test_an_unknown_lesson_is_refused():
    with pytest.raises(ValueError, match=r"lesson must be one of '01_shared_space', .*, got '03'"):
        checks.progress("03")


# -- handing in


def hand_in(folder):
    """The file that is written, which must be one."""
    before = set(folder.glob("hand_in_*.json"))
    checks.hand_in()
    (path,) = set(folder.glob("hand_in_*.json")) - before
    return path


def test_a_hand_in_holds_the_record_and_nothing_else(kernel, tmp_path, monkeypatch, capsys):
    at(monkeypatch, "2026-01-31T12:00Z")
    fail("clip_loss")
    solve("gap_closed")
    capsys.readouterr()
    path = hand_in(tmp_path)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{path.name} is written beside this notebook: 1 solved, 1 tried.\nIn it: ")
    assert "Not in it: your name, your code, your guesses." in printed
    content = json.loads(path.read_text("utf-8"))
    assert content == {
        "about": records.ABOUT,
        "format": 1,
        "course": records.version(),
        "exercises": kept(tmp_path),
        "sha256": records.digest(content),
    }
    assert path.name == f"hand_in_{content['sha256'][:8]}.json"
    assert tmp_path.name not in path.read_text("utf-8")


def test_the_checksum_is_that_of_the_content_however_it_is_laid_out():
    content = {"b": 1, "a": {"d": None, "c": "é"}}
    with_sum = {"sha256": "anything", "a": {"c": "é", "d": None}, "b": 1}
    assert records.digest(content) == records.digest(with_sum)
    # by another tool: printf '{"a":{"c":"\\u00e9","d":null},"b":1}' | sha256sum
    assert records.digest(content) == "d5ee6444bcede2951f0408a8dcd8a82ee354bd14c12a733fe980ccaa7e3e5359"


def test_the_same_record_makes_the_same_file_and_another_one_keeps_the_earlier(kernel, tmp_path):
    solve("gap_closed")
    first = hand_in(tmp_path)
    text = first.read_bytes()
    checks.hand_in()
    assert list(tmp_path.glob("hand_in_*.json")) == [first]
    fail("clip_loss")
    assert hand_in(tmp_path) != first
    assert first.read_bytes() == text


def test_a_record_that_may_not_be_read_is_said(kernel, tmp_path, capsys):
    (tmp_path / records.NAME).mkdir()
    checks.hand_in()
    assert re.fullmatch(
        r"solved_exercises.json cannot be read \(.+\)\. Nothing was written\.\n", capsys.readouterr().out
    )


def test_with_nothing_tried_there_is_nothing_to_hand_in(kernel, tmp_path, capsys):
    checks.hand_in()
    assert capsys.readouterr().out.startswith("Nothing to hand in yet: ")
    assert list(tmp_path.iterdir()) == []


# -- collecting


@pytest.fixture(scope="module")
def two_learners(tmp_path_factory):
    """The folders of two learners, each with the record and what was handed in."""
    folders = tmp_path_factory.mktemp("learners")
    with pytest.MonkeyPatch.context() as patch:
        at(patch, "2026-01-31T12:00Z")
        for learner, right, wrong in (
            ("Ada", ("clip_loss", "recall_at_k", "gap_closed"), ("recall_at_k", "fixed_loss", "fixed_loss")),
            ("Béla", ("clip_loss",), ("clip_loss", "gap_closed")),
        ):
            own = started(patch, folders / learner)
            own.mkdir()
            for exercise in wrong:
                fail(exercise)
            for exercise in right:
                solve(exercise)
            hand_in(own)
    return folders


@pytest.fixture
def classroom(two_learners, tmp_path):
    """A folder with what the two have handed in, each under the learner's name."""
    folder = tmp_path / "class"
    folder.mkdir()
    for own in two_learners.iterdir():
        (file,) = own.glob("hand_in_*.json")
        shutil.copyfile(file, folder / f"{own.name}.json")
    return folder


def content_of(path):
    return json.loads(path.read_text("utf-8"))


def written(path, content, *, signed=False):
    """Write a hand-in that somebody has changed. signed: with a checksum that fits."""
    content = content | ({"sha256": records.digest(content)} if signed else {})
    path.write_text(json.dumps(content), "utf-8")


def said_of(folder):
    return {one.name: one.says for one in checks.collect(folder)}


ROWS = [
    {"learner": "Ada", "01": "0/4", "02": "0/5", "03": "2/4", "04": "0/4", "05": "0/4", "06": "1/5"},
    {"learner": "Béla", "01": "0/4", "02": "0/5", "03": "1/4", "04": "0/4", "05": "0/4", "06": "0/5"},
]


def test_two_learners_records_become_a_table(classroom, capsys):
    found = checks.collect(classroom)
    assert [row | expected for row, expected in zip(handed_in.rows(found), ROWS, strict=True)] == handed_in.rows(
        found
    )
    assert [one.says for one in found] == [[], []]
    capsys.readouterr()
    assert handed_in.main(["collect", str(classroom)]) == 0
    head, _, ada, bela, last = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["learner", "01", "02", "03"]
    assert ada.split()[:4] == ["Ada", "0/4", "0/5", "2/4"]
    assert bela.split()[:4] == ["Béla", "0/4", "0/5", "1/4"]
    assert last == "This is read from the records alone: no answer was run for it, nor run again."


def test_the_csv_table_has_a_column_for_each_exercise(classroom, tmp_path):
    assert handed_in.main(["collect", str(classroom), "--csv", str(tmp_path / "table.csv")]) == 0
    assert (tmp_path / "table.csv").read_bytes().startswith(codecs.BOM_UTF8 + b"learner,")  # by which Excel knows é
    with (tmp_path / "table.csv").open(encoding="utf-8-sig", newline="") as file:
        ada, bela = csv.DictReader(file)
    assert len(ada) == 2 + sum(map(len, records.LESSONS.values()))
    assert (ada["learner"], bela["learner"]) == ("Ada", "Béla")
    assert [ada[f"03 {name}"] for name in records.LESSONS["03_clip"]] == ["solved", "solved", "open", "tried (2)"]
    assert (bela["03 clip_loss"], bela["06 gap_closed"], bela["remarks"]) == ("solved", "tried (1)", "")


def test_a_change_of_any_byte_is_noticed(classroom, tmp_path):
    text = (classroom / "Ada.json").read_bytes()
    folder = tmp_path / "changed"
    folder.mkdir()
    for i, byte in enumerate(text):
        other = b"0" if byte != ord("0") else b"1"
        (folder / f"{i}.json").write_bytes(text[:i] + other + text[i + 1 :])
    found = checks.collect(folder)
    assert len(found) == len(text)
    assert not [one.name for one in found if one.exercises is not None or len(one.says) != 1]


def test_what_was_edited_is_noticed_and_left_out(classroom):
    for name, change in {
        "status": lambda entries: entries["fixed_loss"].update(solved="2026-01-31T12:00Z"),
        "time": lambda entries: entries["clip_loss"].update(solved="2026-01-30T12:00Z"),
        "tries": lambda entries: entries["fixed_loss"].update(tries=1),
        "less": lambda entries: entries.pop("fixed_loss"),
    }.items():
        content = content_of(classroom / "Ada.json")
        change(content["exercises"])
        written(classroom / f"{name}.json", content)
    found = {one.name: one for one in checks.collect(classroom)}
    for name in ("status", "time", "tries", "less"):
        assert found[name].exercises is None
        assert "damaged or edited" in found[name].says[0]
    assert [row["learner"] for row in handed_in.rows(list(found.values()))] == ["Ada", "Béla"]


def test_copies_are_named_and_stay_in_the_table(classroom):
    written(classroom / "Carla.json", content_of(classroom / "Ada.json"))
    (classroom / "below").mkdir()
    (classroom / "below" / "Dan.JSON").write_bytes((classroom / "Ada.json").read_bytes())
    assert said_of(classroom) == {
        "Ada": ["It holds the same as Carla, below/Dan, to the minute: a copy?"],
        "Béla": [],
        "Carla": ["It holds the same as Ada, below/Dan, to the minute: a copy?"],
        "below/Dan": ["It holds the same as Ada, Carla, to the minute: a copy?"],
    }
    assert len(handed_in.rows(checks.collect(classroom))) == 4


def test_another_version_and_unknown_exercises_are_kept_and_marked(classroom, tmp_path):
    content = content_of(classroom / "Béla.json") | {"course": "9.9\x1b[2J"}
    content["exercises"]["from_the_future"] = content["exercises"]["clip_loss"]
    written(classroom / "Zoë.json", content, signed=True)
    assert said_of(classroom)["Zoë"] == [
        f"It comes from version 9.9\\x1b[2J of the course, and this is {records.version()}.",
        "Exercises that this version does not know: from_the_future.",
    ]
    *_, row = handed_in.rows(checks.collect(classroom))
    assert (row["learner"], row["03"]) == ("Zoë", "1/4")
    handed_in.write_csv(tmp_path / "table.csv", checks.collect(classroom))
    with (tmp_path / "table.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [line["unknown: from_the_future"] for line in csv.DictReader(file)] == ["open", "open", "solved"]


def test_what_is_damaged_is_said(classroom):
    for what, text in DAMAGED.items():
        (classroom / f"{what}.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    said = said_of(classroom)
    assert (said.pop("Ada"), said.pop("Béla")) == ([], [])
    assert said.keys() == DAMAGED.keys()
    for what, (sentence,) in said.items():
        assert sentence.startswith("It is damaged, or no hand-in: "), what
        assert sentence.endswith("."), what
    assert len(handed_in.rows(checks.collect(classroom))) == 2


def test_what_is_no_hand_in_is_said(classroom, two_learners):
    (classroom / "large.json").write_text(" " * 2**20 + "{}")
    (classroom / "the record itself.json").write_bytes((two_learners / "Ada" / records.NAME).read_bytes())
    content = content_of(classroom / "Ada.json")
    written(classroom / "more.json", content | {"why": 1}, signed=True)
    written(classroom / "deep.json", content | {"about": json.loads("[" * 900 + "]" * 900)})
    (classroom / "gone.json").symlink_to("nowhere")
    (classroom / ".hidden.json").write_text("")
    (classroom / "notes.txt").write_text("")
    (classroom / "below").mkdir()
    (classroom / "below" / "the others.ZIP").write_bytes(b"PK")
    (classroom / "newer.json").write_text(NEWER)
    said = said_of(classroom)
    assert (said.pop("Ada"), said.pop("Béla")) == ([], [])
    assert {name: sentence for name, (sentence,) in said.items()} == {
        "below/the others.ZIP": "It is an archive, and was not opened: unpack it here, and collect again.",
        "newer": "It cannot be used: a newer version of the course wrote it: update this one, and collect again.",
        "deep": "It is damaged, or no hand-in: not as checks.hand_in() writes it.",
        "gone": "It is no file.",
        "large": "It has more than 1 MB, which no hand-in has; it was not read.",
        "more": "It is damaged, or no hand-in: not as checks.hand_in() writes it.",
        "the record itself": "It has no checksum. Is it solved_exercises.json itself? Ask for the file that "
        "checks.hand_in() writes.",
    }


def test_names_are_plain_text_in_the_terminal_and_in_a_spreadsheet(classroom, tmp_path, capsys):
    (classroom / "Ada.json").rename(classroom / "=HYPERLINK(1).json")
    (classroom / "Béla.json").rename(classroom / "Bé\x1b[2J\n\u202ela.json")
    for sign in "+-@\uff1d":
        written(classroom / f"{sign}1.json", content_of(classroom / "=HYPERLINK(1).json"))
    capsys.readouterr()
    assert handed_in.main(["collect", str(classroom), "--csv", str(tmp_path / "table.csv")]) == 0
    printed = capsys.readouterr().out
    assert "Bé\\x1b[2J\\n\\u202ela  0/4" in printed
    assert all(c.isprintable() or c == "\n" for c in printed)
    with (tmp_path / "table.csv").open(encoding="utf-8-sig", newline="") as file:
        names = [line["learner"] for line in csv.DictReader(file)]
    assert sorted(names) == ["'+1", "'-1", "'=HYPERLINK(1)", "'@1", "'\uff1d1", "Bé\\x1b[2J\\n\\u202ela"]


def test_the_command_fails_where_there_is_nothing_to_use(tmp_path, capsys):
    assert handed_in.main(["collect", str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'nowhere'} is no folder\n"
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "table.csv").write_text("earlier")
    assert handed_in.main(["collect", str(tmp_path), "--csv", str(tmp_path / "table.csv")]) == 1
    out, err = capsys.readouterr()
    assert out == "bad: It is damaged, or no hand-in: no JSON.\n"
    assert err == f"{tmp_path} holds no file of checks.hand_in() that can be used\n"
    assert (tmp_path / "table.csv").read_text() == "earlier"


def test_a_table_that_cannot_be_written_is_said(classroom, capsys):
    assert handed_in.main(["collect", str(classroom), "--csv", str(classroom / "no folder" / "table.csv")]) == 1
    assert "does not exist, so table.csv cannot be written to it" in capsys.readouterr().err


# -- in a real kernel

CELLS = [
    """import os
from xlib.course import checks

def gap_closed(source_only, adapted, oracle):
    return (adapted.mean() - source_only.mean()) / (oracle.mean() - source_only.mean())

checks.gap_closed(gap_closed)
checks.mean_gap_and_recall(lambda *given: 1.0)
os.chdir(os.path.dirname(os.getcwd()))""",
    """from xlib.course.checks import progress

progress("06_combined")""",
    "checks.hand_in()",
]


@pytest.mark.long
def test_from_a_notebook_to_the_next_day_and_the_teachers_table(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in CELLS])
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=place).execute()
    checked, shown, written = (
        "\n".join(output.get("text") or output.data["text/plain"] for output in cell.outputs)
        for cell in notebook.cells
    )
    assert checked.startswith("✓ gap_closed: ")
    assert "1 solved, 1 tried." in written
    started(monkeypatch, folder)
    checks.progress("06_combined")
    for day in (shown, capsys.readouterr().out):
        assert re.search(r"2 · How much of the gap\? +✓ solved +20\d\d-\d\d-\d\d\n", day)
        assert re.search(r"5 · Predict, then explain +✗ tried \(1\)\n", day)
    (row,) = handed_in.rows(checks.collect(folder))
    assert (row["learner"][:8], row["06"]) == ("hand_in_", "1/5")
    assert len(list(folder.iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notebooks"]
