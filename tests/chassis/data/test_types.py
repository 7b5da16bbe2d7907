"""Timestamps that SQLite stores as text are parsed by the column or one by one."""

from datetime import UTC, datetime

import pytest

from freshly.chassis.data import types
from freshly.chassis.data.types import _utc_of_text, _utc_of_texts

WRITTEN = ["2026-11-26 09:30:00.000000", "2026-02-28 23:59:59.123000", "1999-01-01 00:00:00.000001"]


def test_a_column_of_timestamps_is_parsed_at_once(monkeypatch):
    one_by_one = [_utc_of_text(text) for text in WRITTEN]
    monkeypatch.setattr(types, "_utc_of_text", pytest.fail)

    assert _utc_of_texts(WRITTEN) == one_by_one
    assert one_by_one[0] == datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
    assert all(timestamp.tzinfo is UTC for timestamp in _utc_of_texts(WRITTEN))


def test_timestamps_with_nulls_or_other_formats_are_parsed_one_by_one():
    assert _utc_of_texts([]) == []
    assert _utc_of_texts([None, WRITTEN[0]]) == [None, _utc_of_text(WRITTEN[0])]
    assert _utc_of_texts(["2026-11-26 09:30"]) == [datetime(2026, 11, 26, 9, 30, tzinfo=UTC)]


def test_a_text_that_is_no_timestamp_raises():
    with pytest.raises(ValueError, match="Invalid isoformat"):
        _utc_of_texts([WRITTEN[0], 'x"'])
