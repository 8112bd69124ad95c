"""Fetching data sets, against a local stand-in for the servers of OpenML and of UCI.

The stand-in answers the four requests that scikit-learn makes of OpenML, and serves the archives.
What it serves has the size and the classes of the real sets; the numbers are made up. Where
DDT_DATA names a folder of the real files, they are tried too.
"""

import hashlib
import http.server
import io
import json
import os
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import notebooks
import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import _openml

from ddt_utils import data, uci

pytestmark = pytest.mark.filterwarnings(
    "ignore:A network error", "ignore:Invalid cache", "ignore:Retry downloading"
)


class Server:
    """Serves ``pages``, path → bytes, or a status; counts what is asked."""

    def __init__(self):
        self.pages, self.asked = {}, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                page = outer.pages.get(self.path, 404)
                self.send_response(page if isinstance(page, int) else 200)
                self.end_headers()
                self.wfile.write(b"" if isinstance(page, int) else page)

            def log_message(self, *words):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch):
    stand_in = Server()
    for name in ("_DATA_INFO", "_DATA_FEATURES", "_DATA_QUALITIES"):
        address = getattr(_openml, name).replace("https://www.openml.org", stand_in.address)
        monkeypatch.setattr(_openml, name, address)
    for name, remote in uci._REMOTE.items():
        if remote.url:
            moved = remote.url.replace("https://archive.ics.uci.edu", stand_in.address)
            monkeypatch.setitem(uci._REMOTE, name, replace(remote, url=moved))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    yield stand_in
    stand_in.close()


def labels_of(name, seed=0):
    counts = uci._REMOTE[name].counts
    return np.random.default_rng(seed).permutation(np.repeat(list(counts), list(counts.values())))


def joined(columns, labels, separator):
    """A line of text for each sample, its label last."""
    rows = zip(columns.tolist(), labels, strict=True)
    return [separator.join([*map(repr, row), label]) for row, label in rows]


def serve_openml(server, name, columns, labels, *, damaged=False):
    """Put a set on the server in OpenML's formats; returns the path of the file."""
    number, names = uci._REMOTE[name].openml, [f"V{j + 1}" for j in range(columns.shape[1])]
    classes = list(uci._REMOTE[name].counts)
    arff = ["@RELATION stand-in"] + [f"@ATTRIBUTE {n} NUMERIC" for n in names]
    arff += [f"@ATTRIBUTE Class {{{','.join(classes)}}}", "@DATA"]
    arff += joined(columns, labels, ",")
    content = "\n".join(arff).encode()
    path = f"/data/v1/download/{number}/{number}.arff"
    description = dict(
        id=str(number), name="stand-in", version="1", description="", format="ARFF", file_id="1"
    )
    description |= dict(status="active", url=server.address + path)
    description["md5_checksum"] = hashlib.md5(content).hexdigest()
    flags = dict(is_ignore="false", is_row_identifier="false", number_of_missing_values="0")
    features = [
        dict(flags, index=str(j), name=n, data_type="numeric", is_target="false")
        for j, n in enumerate(names)
    ]
    last = dict(index=str(len(names)), name="Class", data_type="nominal", is_target="true")
    features.append(dict(flags, **last, nominal_value=classes))
    size = dict(name="NumberOfInstances", value=str(float(len(labels))))
    api = "/api/v1/json/data"
    server.pages |= {
        f"{api}/{number}": json.dumps({"data_set_description": description}).encode(),
        f"{api}/features/{number}": json.dumps({"data_features": {"feature": features}}).encode(),
        f"{api}/qualities/{number}": json.dumps({"data_qualities": {"quality": [size]}}).encode(),
        path: content[:-9] + b"," + content[-8:] if damaged else content,
    }
    return path


def serve_archive(server, monkeypatch, name, parts, *, checksums=True):
    """Put an archive of these texts on the server; the expected MD5s are theirs."""
    remote, packed = uci._REMOTE[name], io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for (inside, _), text in zip(remote.files, parts, strict=True):
            archive.writestr(f"folder/{inside}", text)
    path = remote.url.removeprefix(server.address)
    server.pages[path] = packed.getvalue()
    if checksums:
        known = [hashlib.md5(text.encode()).hexdigest() for text in parts]
        files = tuple(zip([inside for inside, _ in remote.files], known, strict=True))
        monkeypatch.setitem(uci._REMOTE, name, replace(remote, files=files))
    return path


def banknote(server, **options):
    columns, labels = np.random.default_rng(1).normal(3, 2, (1372, 4)), labels_of("banknote")
    return serve_openml(server, "banknote", columns, labels, **options), columns, labels


def avila(labels, seed=2):
    columns = np.random.default_rng(seed).normal(size=(len(labels), 10)).round(6)
    lines = joined(columns, labels, ",")
    return columns, ["\r\n".join(part) + "\r\n" for part in (lines[:10430], lines[10430:])]


def test_the_table_agrees_with_the_sizes_that_uci_states():
    sizes = {name: (sum(r.counts.values()), r.features, len(r.counts)) for name, r in table()}
    assert sizes == {
        "avila": (20867, 10, 12),
        "banknote": (1372, 4, 2),
        "cardiotocography": (2126, 21, 10),
        "cardiotocography states": (2126, 21, 3),
        "sensorless": (58509, 48, 11),
    }
    assert uci.SETS == tuple(sizes)


def table():
    return uci._REMOTE.items()


def test_banknote_comes_from_openml_once(server, tmp_path):
    path, columns, labels = banknote(server)
    found = uci.fetch("banknote", folder=tmp_path)
    np.testing.assert_allclose(found.inputs, stats.zscore(columns), atol=1e-12)
    np.testing.assert_array_equal(found.targets, labels == "2")
    assert found.classes == ("1", "2") and found.counts.tolist() == [762, 610]
    assert found.name == "banknote" and "10.24432/C55P57" in found.source
    asked = len(server.asked)
    assert server.asked.count(path) == 1
    again = uci.fetch("banknote", folder=tmp_path)
    assert len(server.asked) == asked
    np.testing.assert_array_equal(again.inputs, found.inputs)
    server.close()  # a copy in the folder needs no network
    np.testing.assert_array_equal(uci.fetch("banknote", folder=tmp_path).inputs, found.inputs)


def cardiotocography(labels):
    """35 columns: two times, a copy of V4, 22 measurements of which V16 is zero, ten marks."""
    draw = np.random.default_rng(3)
    columns = draw.normal(100, 10, (len(labels), 35))
    columns[:, 2], columns[:, 15] = columns[:, 3], 0
    columns[:, 25:] = np.eye(10)[draw.integers(10, size=len(labels))]
    return columns


@pytest.mark.parametrize("name", ["cardiotocography", "cardiotocography states"])
def test_cardiotocography_loses_the_columns_that_know_the_answer(server, tmp_path, name):
    labels = labels_of(name)
    columns = cardiotocography(labels)
    serve_openml(server, name, columns, labels)
    found = uci.fetch(name, folder=tmp_path)
    kept = [j for j in range(3, 25) if j != 15]
    np.testing.assert_allclose(found.inputs, stats.zscore(columns[:, kept]), atol=1e-12)
    np.testing.assert_array_equal(found.targets, labels.astype(int) - 1)
    two = uci.fetch(name, binary=["1"], folder=tmp_path)
    np.testing.assert_array_equal(two.targets, labels == "1")


@pytest.mark.parametrize("broken", ["marks", "measurements"])
def test_cardiotocography_with_other_columns_is_refused(server, tmp_path, broken):
    labels = labels_of("cardiotocography")
    columns = cardiotocography(labels)
    if broken == "marks":
        columns[7, 25:] = 0
    else:
        columns[:, 15] = columns[:, 0]
    serve_openml(server, "cardiotocography", columns, labels)
    message = "do not mark one pattern" if broken == "marks" else "must have 21 features"
    with pytest.raises(ValueError, match=message):
        uci.fetch("cardiotocography", folder=tmp_path)


def test_avila_comes_from_uci_once(server, tmp_path, monkeypatch):
    labels = labels_of("avila")
    columns, parts = avila(labels)
    path = serve_archive(server, monkeypatch, "avila", parts)
    found = uci.fetch("avila", folder=tmp_path)
    np.testing.assert_allclose(found.inputs, stats.zscore(columns), atol=1e-12)
    np.testing.assert_array_equal(np.array(found.classes)[found.targets], labels)
    assert "".join(found.classes) == "ABCDEFGHIWXY" and found.counts[1] == 10
    halves = uci.fetch("avila", binary=True, folder=tmp_path)
    np.testing.assert_array_equal(halves.targets, labels > "F")
    assert server.asked == [path]


def test_sensorless_comes_from_uci(server, tmp_path, monkeypatch):
    """A hundredth of its size, to be quick."""
    few = {label: 53 for label in uci._REMOTE["sensorless"].counts}
    monkeypatch.setitem(uci._REMOTE, "sensorless", replace(uci._REMOTE["sensorless"], counts=few))
    labels = labels_of("sensorless")
    columns = np.random.default_rng(4).normal(0, 1e-5, (len(labels), 48))
    text = "\n".join(joined(columns, labels, " "))
    serve_archive(server, monkeypatch, "sensorless", [text], checksums=False)
    found = uci.fetch("sensorless", folder=tmp_path)
    np.testing.assert_allclose(found.inputs, stats.zscore(columns), atol=1e-9)
    np.testing.assert_array_equal(found.targets, labels.astype(int) - 1)


@pytest.mark.parametrize("way", ["openml", "md5", "archive", "missing"])
def test_a_damaged_download_is_noticed_and_replaced(server, tmp_path, monkeypatch, way):
    if way == "openml":
        name = "banknote"
        banknote(server, damaged=True)
    else:
        name, (_, parts) = "avila", avila(labels_of("avila"))
        path = serve_archive(server, monkeypatch, "avila", parts, checksums=way != "md5")
        if way == "archive":
            server.pages[path] = server.pages[path][:5000]
        elif way == "missing":
            server.pages[path] = b"PK\x05\x06" + bytes(18)  # an archive without a file
    with pytest.raises(ValueError, match=f"file of {name} in .* is damaged .* call again"):
        uci.fetch(name, folder=tmp_path)
    if way == "openml":
        banknote(server)
    else:
        serve_archive(server, monkeypatch, "avila", parts)
    assert uci.fetch(name, folder=tmp_path).name == name


@pytest.mark.parametrize("name", ["banknote", "avila"])
def test_without_a_network_the_error_says_what_to_do(server, tmp_path, name):
    server.close()
    with pytest.raises(ConnectionError, match="connect to the network.*stay offline with breast"):
        uci.fetch(name, folder=tmp_path)


@pytest.mark.parametrize("name", ["banknote", "avila"])
def test_a_server_that_refuses_is_quoted(server, tmp_path, name):
    server.pages = {"/api/v1/json/data/1462": 503, "/static/public/459/avila.zip": 503}
    with pytest.raises(ConnectionError, match="the server answered 503"):
        uci.fetch(name, folder=tmp_path)


def test_another_version_is_refused(server, tmp_path, monkeypatch):
    labels = labels_of("avila")
    labels[labels == "B"] = "A"
    serve_archive(server, monkeypatch, "avila", avila(labels)[1])
    with pytest.raises(ValueError, match="another version"):
        uci.fetch("avila", folder=tmp_path)


def test_unknown_names_are_refused_before_anything_is_asked(server, tmp_path):
    with pytest.raises(ValueError, match="name must be one of .*'mnist'"):
        uci.fetch("mnist", folder=tmp_path)
    assert server.asked == []


def put(folder, name, columns, labels):
    """Lay a set's plain files into a folder, its numbers made up."""
    remote = uci._REMOTE[name]
    if name == "banknote":
        lines = joined(columns, (labels.astype(int) - 1).astype(str), ",")
    else:
        other = np.ones(len(labels))
        names = [f"M{j}" for j in range(columns.shape[1])] + list(remote.answers)
        table = np.column_stack([columns, labels.astype(float), other])
        lines = [",".join(names)] + [",".join(map(repr, row)) for row in table.tolist()]
    (folder / remote.files[0][0]).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("name", ["banknote", "cardiotocography", "cardiotocography states"])
@pytest.mark.parametrize("way", ["folder", "environment"])
def test_plain_files_are_taken_as_they_lie(server, tmp_path, monkeypatch, name, way):
    labels = labels_of(name)
    columns = np.random.default_rng(5).normal(3, 2, (len(labels), dict(table())[name].features))
    put(tmp_path, name, columns, labels)
    if way == "environment":
        monkeypatch.setenv(uci.DATA, str(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    found = uci.fetch(name, folder=tmp_path if way == "folder" else None)
    np.testing.assert_allclose(found.inputs, stats.zscore(columns), atol=1e-12)
    np.testing.assert_array_equal(found.targets, labels.astype(int) - 1)
    assert server.asked == [] and sorted(tmp_path.rglob("*")) == before


def test_plain_files_of_avila_are_held_to_their_checksums(server, tmp_path, monkeypatch):
    labels = labels_of("avila")
    columns, parts = avila(labels)
    for (inside, _), text in zip(uci._REMOTE["avila"].files, parts, strict=True):
        (tmp_path / inside).write_bytes(text.encode())
    with pytest.raises(ValueError, match="MD5 of avila-tr.txt is wrong.*restore it, or take it"):
        uci.fetch("avila", folder=tmp_path)
    path = serve_archive(server, monkeypatch, "avila", parts)
    found = uci.fetch("avila", folder=tmp_path)
    np.testing.assert_allclose(found.inputs, stats.zscore(columns), atol=1e-12)
    assert server.asked == []
    (tmp_path / "avila-ts.txt").unlink()  # half of a set is none
    again = uci.fetch("avila", folder=tmp_path)
    np.testing.assert_array_equal(again.inputs, found.inputs)
    assert server.asked == [path] and uci.checksum(again) == uci.checksum(found)


def test_what_ddt_data_lacks_is_fetched_elsewhere(server, tmp_path, monkeypatch):
    (tmp_path / "plain").mkdir()
    monkeypatch.setenv(uci.DATA, str(tmp_path / "plain"))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "kept"))
    path, _, _ = banknote(server)
    uci.fetch("banknote")
    assert path in server.asked and not list((tmp_path / "plain").iterdir())


def test_make_full_says_which_sets_lie_in_the_folder_and_refuses_a_wrong_one(
    tmp_path, monkeypatch, capsys
):
    """Chapters run in their own folders, so a relative folder becomes a full path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").mkdir()
    with pytest.raises(ValueError, match="plain holds the files of none; name another"):
        notebooks.data_folder("plain")
    with pytest.raises(ValueError, match="plane is no folder; name another"):
        notebooks.data_folder("plane")
    (tmp_path / "plain" / "banknote.csv").touch()
    (tmp_path / "plain" / "avila-tr.txt").touch()  # one of two parts
    assert notebooks.data_folder("plain") == tmp_path / "plain"
    assert ": banknote; any other" in capsys.readouterr().out


@pytest.mark.parametrize("program", ["--full", "--confirm"])
def test_a_wrong_folder_ends_the_program_before_anything_is_made(tmp_path, monkeypatch, program):
    monkeypatch.setenv(uci.DATA, str(tmp_path / "nowhere"))
    monkeypatch.setattr("sys.argv", ["notebooks.py", program])
    monkeypatch.setattr(notebooks, "make_all_records", lambda *_: pytest.fail("it went on"))
    with pytest.raises(SystemExit) as stopped:
        notebooks.main()
    assert stopped.value.code == 2


@pytest.mark.parametrize("broken", ["count", "ragged", "words", "names", "class"])
def test_other_plain_files_are_refused(tmp_path, broken):
    name = "cardiotocography"
    labels = labels_of(name)
    columns = np.random.default_rng(6).normal(size=(len(labels), 21))
    put(tmp_path, name, columns, labels)
    path = tmp_path / "cardiotocography.csv"
    text = path.read_text()
    lines = text.split("\n")
    changed = {
        "count": "\n".join(lines[:-2]),
        "ragged": text + "1,2\n",
        "words": text.replace(lines[5].split(",")[0], "five", 1),
        "names": text.replace("NSP", "STATE", 1),
        "class": text.replace(lines[5], lines[5].rsplit(",", 2)[0] + ",1.5,1.0"),
    }
    path.write_text(changed[broken])
    with pytest.raises(ValueError, match="must have" if broken != "words" else "restore it, or"):
        uci.fetch(name, folder=tmp_path)


def test_a_checksum_is_the_same_from_everywhere(server, tmp_path):
    """From OpenML with its other columns, or from a plain file; and it survives a subset."""
    name = "cardiotocography"
    labels = labels_of(name)
    columns = cardiotocography(labels)
    serve_openml(server, name, columns, labels)
    (tmp_path / "plain").mkdir()
    put(tmp_path / "plain", name, columns[:, [j for j in range(3, 25) if j != 15]], labels)
    one = uci.fetch(name, folder=tmp_path, binary=True)
    other = uci.fetch(name, folder=tmp_path / "plain")
    assert uci.checksum(one) == uci.checksum(other.subset(np.arange(9)))
    assert len(uci.checksum(one)) == 64
    columns[3, 4] += 1e-9
    put(tmp_path / "plain", name, columns[:, [j for j in range(3, 25) if j != 15]], labels)
    assert uci.checksum(uci.fetch(name, folder=tmp_path / "plain")) != uci.checksum(one)
    with pytest.raises(ValueError, match="must be from uci.fetch.*wine"):
        uci.checksum(data.wine())


@pytest.mark.skipif(uci.DATA not in os.environ, reason="DDT_DATA names no folder of the true files")
@pytest.mark.parametrize(
    "name", ["avila", "banknote", "cardiotocography", "cardiotocography states"]
)
def test_the_true_files_from_the_folder_and_through_the_stand_in(
    server, tmp_path, monkeypatch, name
):
    """What OpenML adds to Cardiotocography (times, copies, a zero, the ten marks) is made up."""
    plain = uci.fetch(name)
    remote, folder = uci._REMOTE[name], Path(os.environ[uci.DATA])
    if name == "avila":
        parts = [(folder / inside).read_bytes().decode() for inside, _ in remote.files]
        serve_archive(server, monkeypatch, name, parts, checksums=False)
    else:
        columns, labels = uci._plain(remote, folder)
        if name != "banknote":
            whole = cardiotocography(labels)
            whole[:, [j for j in range(3, 25) if j != 15]] = columns
            columns = whole
        serve_openml(server, name, columns, labels)
    monkeypatch.delenv(uci.DATA)
    fetched = uci.fetch(name, folder=tmp_path)
    assert server.asked and fetched.source == plain.source
    np.testing.assert_array_equal(fetched.inputs, plain.inputs)
    np.testing.assert_array_equal(fetched.targets, plain.targets)


@pytest.mark.parametrize("kind", ["nowhere", "a file"])
def test_a_folder_in_the_environment_that_is_none_is_told(kind, tmp_path, monkeypatch):
    """A slip in its name must not send anyone to a server."""
    (tmp_path / "a file").write_text("no folder")
    monkeypatch.setenv("DDT_DATA", str(tmp_path / kind))
    with pytest.raises(ValueError, match=f"DDT_DATA must name a folder that is there.*{kind}"):
        uci.fetch("banknote")


def test_what_is_no_folder_no_file_and_no_set_is_told(tmp_path):
    (tmp_path / "banknote.csv").write_text("")
    with pytest.raises(ValueError, match="damaged or not the expected one .it holds no samples"):
        uci.fetch("banknote", folder=tmp_path)
    for wrong in (tmp_path / "banknote.csv", 3):
        with pytest.raises(ValueError, match="folder must be a folder"):
            uci.fetch("banknote", folder=wrong)
    with pytest.raises(ValueError, match="dataset must be from uci.fetch, got 'banknote'"):
        uci.checksum("banknote")


def banknotes(folder):
    folder.mkdir(exist_ok=True)
    labels = labels_of("banknote")
    put(folder, "banknote", np.random.default_rng(5).normal(size=(len(labels), 4)), labels)
    return folder / "banknote.csv"


@pytest.mark.parametrize("way", ["folder", "environment"])
def test_one_s_home_may_be_written_as_a_tilde(server, tmp_path, monkeypatch, way):
    monkeypatch.setenv("HOME", str(tmp_path))
    banknotes(tmp_path / "sets")
    if way == "environment":
        monkeypatch.setenv(uci.DATA, "~/sets")
    found = uci.fetch("banknote", folder="~/sets" if way == "folder" else None)
    assert found.inputs.shape == (1372, 4) and server.asked == []


def test_an_empty_name_is_no_folder():
    with pytest.raises(ValueError, match="folder must be a folder, got ''"):
        uci.fetch("banknote", folder="")


@pytest.mark.parametrize("odd", ["nan", "inf", "1e400"])
def test_a_file_with_a_number_that_is_none_is_named(tmp_path, odd):
    path = banknotes(tmp_path)
    first, rest = path.read_text().split(",", 1)
    path.write_text(f"{odd},{rest}")
    with pytest.raises(ValueError, match=r"file of banknote in .*finite, got (nan|inf) at \[0, 0"):
        uci.fetch("banknote", folder=tmp_path)
