"""The roster: what spreadsheets write is read as it stands; every fault is a sentence with its line, all at once."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stacks.errors import SettingsError
from stacks.roster import Participant, enrol, has_ids, numbered, read_roster
from stacks.settings import SeminarSettings

ADA = Participant("ada", "Ada Lovelace", "ada@example.org")
BOSE = Participant("bose", "Satyendra Nath Bose", "bose@example.org")
PEOPLE = "id,name,email\nada,Ada Lovelace,ada@example.org\nbose,Satyendra Nath Bose,bose@example.org\n"
EXPECTED_ID = "expected 1 to 31 of a-z, 0-9 and dash, for example ada."


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


def read(roster: Path, text: str | bytes) -> tuple[Participant, ...]:
    roster.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_roster(roster)


def faults(roster: Path, text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read(roster, text)
    return caught.value.faults


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_a_spreadsheet_writes(roster: Path, delimiter: str, end: str, mark: str) -> None:
    assert read(roster, mark + PEOPLE.replace(",", delimiter).replace("\n", end)) == (ADA, BOSE)


def test_columns_in_any_order_and_case_with_empty_ones(roster: Path) -> None:
    assert read(roster, "Email, NAME ,Id,,\nada@example.org, Ada Lovelace ,ada,,\n") == (ADA,)
    assert read(roster, "name\nAda Lovelace\n") == (Participant("01", "Ada Lovelace"),)
    assert read(roster, "id,name,email\nada,Ada Lovelace\n") == (Participant("ada", "Ada Lovelace"),)


def test_an_empty_column_in_between(roster: Path) -> None:
    assert read(roster, "id,,name,email\nada,,Ada Lovelace,ada@example.org\n") == (ADA,)


def test_a_quoted_name_keeps_its_comma_and_quotes(roster: Path) -> None:
    people = read(roster, 'id,name\nada,"Lovelace, Ada ""the first"""\n')
    assert people == (Participant("ada", 'Lovelace, Ada "the first"'),)


def test_two_of_the_same_name(roster: Path) -> None:
    assert [person.id for person in read(roster, "name\nAda\nAda\n")] == ["01", "02"]


def test_upper_case_ids_are_lowered(roster: Path) -> None:
    assert [person.id for person in read(roster, "id,name\nADA-2,Ada\n")] == ["ada-2"]


def test_empty_lines_are_skipped_and_counted(roster: Path) -> None:
    text = "\n , \nid,name\n\nada,Ada\n,,\n\nBad Id,Bose\n"
    assert faults(roster, text) == (f"people.csv line 8: id 'bad id'; {EXPECTED_ID}",)
    assert [person.id for person in read(roster, "\nname\n\nAda\n\n\nBose\n\n")] == ["01", "02"]


def test_five_hundred_and_no_more(roster: Path) -> None:
    lines = ["name", *(f"Person {n}" for n in range(500))]
    people = read(roster, "\n".join(lines))
    assert len({person.id for person in people}) == 500
    assert people[-1].id == "500"
    assert faults(roster, "\n".join([*lines, "One more"])) == (
        "people.csv has 501 participants; expected at most 500.",
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a_b,Ada,", f"id 'a_b'; {EXPECTED_ID}"),
        ("-ada,Ada,", f"id '-ada'; {EXPECTED_ID}"),
        ("ada-,Ada,", f"id 'ada-'; {EXPECTED_ID}"),
        ("../x,Ada,", f"id '../x'; {EXPECTED_ID}"),
        ("zoë,Zoë,", f"id 'zoë'; {EXPECTED_ID}"),
        (f"{'a' * 32},Ada,", f"id '{'a' * 32}'; {EXPECTED_ID}"),
        (",Ada,", f"id ''; {EXPECTED_ID}"),
        ("ada,,ada@example.org", "has no name; write one."),
        (f"ada,{'A' * 201},", f"name '{'A' * 40}'; expected at most 200 printable characters."),
        ("ada,A\x07da,", "name 'A\\x07da'; expected at most 200 printable characters."),
        ("ada,A\x1b[2Jda,", "name 'A\\x1b[2Jda'; expected at most 200 printable characters."),
        ("ada,A\u202eda,", "name 'A\\u202eda'; expected at most 200 printable characters."),
        ('ada,"A\nda",', "name 'A\\nda'; expected at most 200 printable characters."),
        ("ada,Ada,ada", "email 'ada'; expected an address such as ada@example.org, or nothing."),
        ("ada,Ada,a b@example.org", "email 'a b@example.org'; expected an address such as ada@example.org, or "),
        ("ada,Lovelace, Ada,ada@example.org", "has 4 columns; expected 3. Put quotes around a name with a comma."),
    ],
)
def test_a_bad_line_is_a_sentence_with_its_number(roster: Path, line: str, told: str) -> None:
    found = faults(roster, f"id,name,email\nbose,Bose,\n{line}\n")
    number = 4 if "\n" in line else 3
    assert any(fault.startswith(f"people.csv line {number}: {told}") for fault in found), found


def test_a_nul_is_a_sentence_on_every_python(roster: Path) -> None:
    assert faults(roster, "id,name\nada,A\0da\n") == (
        "people.csv line 2 has a NUL character; save the file as text, 'CSV UTF-8'.",
    )


def test_the_longest_id(roster: Path) -> None:
    assert read(roster, f"id,name\n{'a' * 31},Ada\nb,Bose\n")[0].id == "a" * 31


def test_a_double_id_names_both_lines(roster: Path) -> None:
    assert faults(roster, "id,name\nada,Ada\nbose,Bose\nADA,Another\n") == (
        "people.csv line 4: has the id 'ada' of line 2; give each person an id of their own.",
    )


def test_all_faults_at_once(roster: Path) -> None:
    found = faults(roster, "id,name,email\nBad Id,,nowhere\nada,Ada,\nada,Ada,,,\nada,Ada,,,extra\n")
    assert [fault.split(":")[0] for fault in found] == ["people.csv line 2"] * 3 + ["people.csv line 4"] + [
        "people.csv line 5"
    ] * 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "people.csv is empty; expected a header line such as id,name,email and a line a person."),
        ("\n ,\n", "people.csv is empty; expected a header line such as id,name,email and a line a person."),
        ("id,name\n", "people.csv has a header but nobody in it; add a line for each participant."),
        (
            "id,email\nada,a@b\n",
            "people.csv line 1 has no column called name; expected a header such as id,name,email.",
        ),
        ("\nada,Ada\n", "people.csv line 2 has no column called name; expected a header such as id,name,email."),
        ("name,phone\nAda,1\n", "people.csv line 1: column 'phone' is not known; expected id, name, email."),
        ("name,id,Name\nAda,1,A\n", "people.csv line 1: column name stands there twice."),
    ],
)
def test_a_bad_header(roster: Path, text: str, told: str) -> None:
    assert faults(roster, text) == (told,)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ("name\nAda\nMaría\n".encode("cp1252"), 3),
        ("name\nAda\n".encode("utf-16"), 1),
    ],
)
def test_another_encoding(roster: Path, raw: bytes, line: int) -> None:
    assert faults(roster, raw) == (
        f"people.csv line {line} is not UTF-8; in Excel save it as 'CSV UTF-8 (Comma delimited)'.",
    )


def test_a_quote_that_nobody_closes(roster: Path) -> None:
    """The csv module ends a field at 128 KiB with an error of its own."""
    assert len(faults(roster, 'id,name\nada,"Ada\n' + "bose,Satyendra Nath Bose\n" * 10_000)) == 1


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read_roster(tmp_path / "nowhere.csv")
    assert str(caught.value) == (
        f"{tmp_path}/nowhere.csv does not exist; expected a roster. Write it, or set seminar:participants."
    )
    with pytest.raises(SettingsError, match=r"can't be read \(.+\); expected a CSV file\."):
        read_roster(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "Maria Skłodowska Curie",
        "Nguyễn Thị Minh Khai",
        "O'Neil-d’Arc",
        "Юлия Ё.",
        "محمد بن موسى",
        "山田 太郎",
        "山田　太郎",  # with the ideographic space, as Japanese is typed
        "علی\u200cرضا",  # with the zero width non-joiner, as Persian is spelt
        "ක්\u200dරිෂ්ණා",  # with the zero width joiner, as Sinhala is spelt
        "Ada\u00a0Lovelace",  # with the no-break space, as copied from a web page
        "Zoe\u0308",
        "🦉 Minerva",
    ],
)
def test_names_as_people_write_them(roster: Path, name: str) -> None:
    assert [person.name for person in read(roster, f"name\n{name}\n")] == [name]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(categories=["L", "M", "N", "P", "S"]), min_size=1, max_size=200), min_size=1))
def test_names_in_any_script(roster: Path, names: list[str]) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerows([["id", "name"], *([n, name] for n, name in enumerate(["Ada", *names]))])
    assert [person.name for person in read(roster, written.getvalue())] == ["Ada", *names]


def test_numbered() -> None:
    assert numbered(0) == ()
    assert numbered(2) == (Participant("01", "Participant 01"), Participant("02", "Participant 02"))
    assert [person.id for person in numbered(100)][8::91] == ["09", "100"]
    assert numbered(120)[:9] == numbered(9)


def test_enrol_takes_the_roster_or_numbers(roster: Path) -> None:
    roster.write_text(PEOPLE)
    assert enrol(SeminarSettings(seminar="spring", roster=roster)) == (ADA, BOSE)
    assert enrol(SeminarSettings(seminar="spring", participants=3)) == numbered(3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PEOPLE, True),
        ("\ufeffID;Name\nada;Ada\n", True),
        ('"id","name"\nada,Ada\n', True),
        ("\n\nid,name\nada,Ada\n", True),
        (" ,\nid,name\nada,Ada\n", True),
        ("name\nid\n", False),
        ("name,email\nAda,\n", False),
    ],
)
def test_has_ids(roster: Path, text: str, expected: bool) -> None:
    roster.write_text(text, encoding="utf-8")
    assert has_ids(roster) is expected
