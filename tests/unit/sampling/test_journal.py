"""A journal gives back what was written, up to the first damage, and says what it dropped."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill.base.errors import UserError
from distill.sampling.journal import MAGIC, Journal

RECORDS = [{"tree": i, "text": "ä" * i, "value": [0.1 * i, None]} for i in range(5)]

reused_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path, records=RECORDS):
    path.unlink(missing_ok=True)
    with Journal(path) as journal:
        assert list(journal.replay()) == []
        for record in records:
            journal.append([record])
    return path.read_bytes()


def read(path):
    with Journal(path) as journal:
        return list(journal.replay()), journal.note


def test_records_come_back(tmp_path):
    write(tmp_path / "j")
    assert read(tmp_path / "j") == (RECORDS, None)


@reused_folder
@given(st.data())
def test_a_torn_end_is_dropped_with_a_note_and_can_be_written_again(tmp_path, data):
    path = tmp_path / "j"
    whole = write(path)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    found, note = read(path)
    assert found == RECORDS[: len(found)]
    ends = [len(MAGIC)] + [i + 1 for i in range(len(MAGIC), len(whole)) if whole[i : i + 1] == b"\n"]
    assert len(found) == sum(end <= cut for end in ends[1:])
    assert (note is None) == (cut in ends or cut < len(MAGIC))
    with Journal(path) as journal:
        list(journal.replay())
        journal.append(RECORDS[len(found) :])
    assert path.read_bytes() == whole


@reused_folder
@given(st.data())
def test_a_damaged_byte_costs_its_record_and_those_behind_it(tmp_path, data):
    path = tmp_path / "j"
    whole = write(path)
    at = data.draw(st.integers(len(MAGIC), len(whole) - 1))
    damaged = bytes([whole[at] ^ data.draw(st.integers(1, 255))])
    path.write_bytes(whole[:at] + damaged + whole[at + 1 :])
    found, note = read(path)
    assert found == RECORDS[: whole[len(MAGIC) : at].count(b"\n")]
    assert "dropped" in note


def test_another_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my only copy")
    with pytest.raises(UserError, match="not a growth journal"):
        Journal(path)
    assert path.read_text() == "my only copy"
