"""Files that appear whole or not at all, and what is no file stays what it is."""

from __future__ import annotations

import os
import stat

import pytest

from lamarck._files import whole


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole(path) as draft:
        draft.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    with whole(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    path = tmp_path / "link.txt"
    path.symlink_to(tmp_path / "there" / "a.txt")
    with whole(path) as draft:
        draft.write_text("new")
    assert path.is_symlink()
    assert (tmp_path / "there" / "a.txt").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["link.txt", "there"]


def test_a_pipe_stays_a_pipe(tmp_path):
    """As a device does: a file in the place of /dev/full or /dev/stdout would be there for everybody."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with whole(path) as draft:
            draft.write_text("through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)
