"""Files that are whole or not there, whoever is killed, and errors that name file and remedy."""

import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ddt_utils import _files


def test_what_is_written_is_what_is_read(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    _files.write_json(path, {"text": "ℓ\r\n", "numbers": [1, 0.1]}, indent=1)
    assert _files.read_json(path, remedy="-", keys=("text",)) == {
        "text": "ℓ\r\n",
        "numbers": [1, 0.1],
    }
    _files.write(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    _files.write(path, "a\nb")
    assert path.read_bytes() == b"a\nb"
    arrays = dict(x=np.arange(6.0).reshape(2, 3), word=np.array("ℓ"))
    _files.write_arrays(path, arrays)
    found = _files.read_arrays(path, remedy="-", keys=("x",))
    assert str(found["word"]) == "ℓ"
    np.testing.assert_array_equal(found["x"], arrays["x"])
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    _files.write(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        _files.write(path, "new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _files.write(path, "new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_links_are_followed_and_modes_kept(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    _files.write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    _files.write(tmp_path / "fresh", "")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "fresh").stat().st_mode == (tmp_path / "plain").stat().st_mode


KILLED = """
import sys
from ddt_utils import _files
_files.write(sys.argv[1], b"a" * 3_000_000)
print("written", flush=True)
while True:
    for letter in (b"b", b"a"):
        _files.write(sys.argv[1], letter * 3_000_000)
"""


def test_a_killed_writer_leaves_a_whole_file_and_the_next_one_tidies(tmp_path):
    path = tmp_path / "state.bin"
    for delay in (0.011, 0.03, 0.047):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "written\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        content = path.read_bytes()
        assert len(content) == 3_000_000 and content == content[:1] * 3_000_000
    left = tmp_path / ".state.bin.0123.part"
    left.write_text("half")
    other = tmp_path / ".other.bin.0123.part"
    other.write_text("half")
    for old in (left, other):
        os.utime(old, (time.time() - 7200,) * 2)
    _files.write(path, b"c")
    assert not left.exists() and other.exists() and path.read_bytes() == b"c"


def _npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _packed(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


WHOLE = _npz(theta=np.arange(300.0), digest="x")
PACKED = _packed(theta=np.sqrt(np.arange(3000.0)), digest="x")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"PK\x03\x04",
        pickle.dumps({"theta": 1}),
        _npz(theta=np.array([{}], dtype=object), digest="x"),
        _npz(a=1),
        WHOLE[:20] + b"\xff" * 40 + WHOLE[60:],
        WHOLE.replace(b"NUMPY", b"PYTHO"),
        *(WHOLE[:cut] for cut in range(7, len(WHOLE), 211)),
        *(
            PACKED[:at] + bytes([PACKED[at] ^ 0x55]) + PACKED[at + 1 :]
            for at in (60, 90, 400, 9000)
        ),
        json.dumps({"theta": 1}).encode(),
    ],
)
def test_a_torn_foreign_or_pickled_archive_names_file_and_remedy(tmp_path, content):
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))) as found:
        _files.read_arrays(path, remedy="begin again", keys=("theta", "digest"))
    assert str(found.value).endswith("; begin again") and "allow_pickle" not in str(found.value)


def test_a_whole_archive_is_read_to_the_last_byte(tmp_path):
    for content in (WHOLE, PACKED):
        (tmp_path / "state.npz").write_bytes(content)
        assert set(_files.read_arrays(tmp_path / "state.npz", remedy="-")) == {"theta", "digest"}


@pytest.mark.parametrize(
    "content", [b"", b'{"code": ', b"[1, 2]", b"\xff\xfe", b'{"other": 1}', b"3", b"[" * 200_000]
)
def test_a_torn_or_foreign_json_names_file_and_remedy(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path)) + ".*; begin again$"):
        _files.read_json(path, remedy="begin again", keys=("code",))


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    for read in (_files.read_json, _files.read_arrays):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "no", remedy="-")


@pytest.mark.parametrize("path", [None, 3, ""])
def test_what_names_no_file_is_refused(path, tmp_path):
    def wrong():
        return tmp_path if path == "" else path

    for call in (
        lambda: _files.write(wrong(), "text"),
        lambda: _files.read_json(wrong(), remedy="-"),
        lambda: _files.read_arrays(wrong(), remedy="-"),
    ):
        with pytest.raises(ValueError, match="path must be that of a file, got .*; (give|name)"):
            call()
    assert not list(tmp_path.iterdir())
