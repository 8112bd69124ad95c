r"""The data sets of Xie, Sato and Sugiyama (ICLR 2021): from a folder, or fetched once, then kept.

Offline sets are in :mod:`.data`.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError

import numpy as np

from ddt_utils import _checks, _files
from ddt_utils.data import Dataset


@dataclass(frozen=True)
class _Remote:
    """Where a set is found, and what it must contain: the number of samples of each class."""

    source: str
    features: int
    counts: dict
    openml: int | None = None
    url: str = ""
    files: tuple = ()  # (name in the archive or in a folder, MD5 or None)
    separator: str | None = None
    answers: tuple = ()  # the plain file's columns of classes; the first is this set's own
    lowest: int = 1  # the plain file's number of class 1


def _numbered(*counts):
    return {str(c + 1): count for c, count in enumerate(counts)}


_UCI = "https://archive.ics.uci.edu/static/public/"
_CARDIO = "Campos and Bernardes, Cardiotocography, UCI, doi 10.24432/C51S4N"
_REMOTE = {
    "avila": _Remote(
        "De Stefano et al., Avila, UCI, doi 10.24432/C5K02X",
        10,
        dict(
            A=8572, B=10, C=206, D=705, E=2190, F=3923, G=893, H=1039, I=1663, W=89, X=1044, Y=533
        ),
        url=_UCI + "459/avila.zip",
        files=(
            ("avila-tr.txt", "b78ee4f810c6de0e0c933ef36345f53b"),
            ("avila-ts.txt", "b0eb4691d779086bcd73ae4951b891ee"),
        ),
        separator=",",
    ),
    "banknote": _Remote(
        "Lohweg, Banknote Authentication, UCI, doi 10.24432/C55P57",
        4,
        _numbered(762, 610),
        1462,
        files=(("banknote.csv", None),),
        separator=",",
        lowest=0,
    ),
    "cardiotocography": _Remote(
        _CARDIO,
        21,
        _numbered(384, 579, 53, 81, 72, 332, 252, 107, 69, 197),
        1466,
        files=(("cardiotocography.csv", None),),
        separator=",",
        answers=("CLASS", "NSP"),
    ),
    "cardiotocography states": _Remote(
        _CARDIO,
        21,
        _numbered(1655, 295, 176),
        1560,
        files=(("cardiotocography.csv", None),),
        separator=",",
        answers=("NSP", "CLASS"),
    ),
    "sensorless": _Remote(
        "Bator, Dataset for Sensorless Drive Diagnosis, UCI, doi 10.24432/C5VP5F",
        48,
        _numbered(*11 * (5319,)),
        url=_UCI + "325/dataset+for+sensorless+drive+diagnosis.zip",
        files=(("Sensorless_drive_diagnosis.txt", None),),
    ),
}
SETS = tuple(_REMOTE)  #: the names that :func:`fetch` knows
DATA = "DDT_DATA"  #: the environment's variable that names a folder of plain files
_MARK = "SHA-256 "


def fetch(
    name: str, *, binary: Iterable[str] | bool | None = None, folder: str | Path | None = None
) -> Dataset:
    """One of the four sets of Xie, Sato and Sugiyama (ICLR 2021): from a folder, or fetched once.

    ======================= ========= ======== ======= ==================================
    name                    samples   features classes from
    ======================= ========= ======== ======= ==================================
    avila                   20867     10       12      UCI 459; both parts, training first
    banknote                1372      4        2       OpenML 1462
    cardiotocography        2126      21       10      OpenML 1466, fetal heart patterns
    cardiotocography states 2126      21       3       OpenML 1560, the same, fetal states
    sensorless              58509     48       11      UCI 325
    ======================= ========= ======== ======= ==================================

    OpenML's files are checked against its own MD5 by scikit-learn; those of Avila against MD5s
    published by others, that of Sensorless only by the CRC-32 of its archive. Then the shape and
    the number of samples of every class must be those of the table. OpenML's Cardiotocography has
    35 columns, of which ten give the answer away; the 21 that UCI names are kept.

    Plain files are taken first, as they lie, and are only read: ``avila-tr.txt`` and
    ``avila-ts.txt``; ``banknote.csv``, the class last, 0 or 1; ``cardiotocography.csv`` with a line
    of names, among them ``CLASS`` and ``NSP``; ``Sensorless_drive_diagnosis.txt``. They may be in
    ``folder``, or, where none is given, in the folder that ``DDT_DATA`` in the environment names.
    They are checked in the same way.

    Not verified: the live servers were out of reach when this was written, and it was tried
    against a local stand-in, with the true numbers of all but Sensorless. The class counts of all
    but Sensorless are those of public copies of the files; the counts of Sensorless, the OpenML
    numbers and the addresses were found in public sources. OpenML numbers for Avila and Sensorless
    were not found, so these come from UCI. The order of OpenML's columns of Cardiotocography is
    that of UCI's raw table, as far as can be told; that the last ten mark one class each, and that
    one of V4 to V25 is constant, is checked.

    Args:
        name: one of ``SETS``.
        binary: two groups of classes instead, see :meth:`~ddt_utils.data.Dataset.grouped`.
        folder: where plain files are, or fetched ones are kept; if not given, plain files come
            from ``DDT_DATA``, and others are kept in scikit-learn's data folder.

    Returns:
        The set, with standardised columns; its ``source`` ends with its :func:`checksum`.

    Raises:
        ValueError: an unknown name; a folder that is none; a file that is damaged or not what the
            table says.
        ConnectionError: the file is not there yet and the server cannot be reached.
    """
    _checks.choice("name", name, SETS)
    from sklearn.datasets import get_data_home

    remote, named = _REMOTE[name], os.environ.get(DATA)
    place = _files.folder("folder", folder) if folder is not None else None
    if folder is None and named:
        place = Path(os.path.expanduser(named))
    if folder is None and named and not place.is_dir():
        raise ValueError(
            f"{DATA} must name a folder that is there, got {named!r}; correct it, or unset it to "
            "fetch the set"
        )
    lies, _ = _lies(remote, place)
    folder = place if lies else Path(get_data_home(None if folder is None else str(place)))
    way = _plain if lies else _openml if remote.openml else _archive
    try:
        inputs, labels = way(remote, folder)
        inputs = _checks.array("its numbers", inputs)
    except (URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        said = f"the server answered {error.code}" if isinstance(error, HTTPError) else error
        raise ConnectionError(
            f"{name} is not in {folder} and could not be fetched ({said}); connect to the network "
            f"and call again, or name a folder with its files in {DATA}, or stay offline with "
            "breast_cancer, digits, wine, gaussian_mixture, signals or a teacher"
        ) from error
    except (ValueError, zipfile.BadZipFile) as error:
        remedy = "restore it, or take it away" if lies else "call again"
        raise ValueError(
            f"the file of {name} in {folder} is damaged or not the expected one ({error}); "
            f"{remedy} to fetch it anew"
        ) from error
    classes = tuple(remote.counts)
    found = dict(Counter(labels.tolist()))
    whole = None
    if found == remote.counts and inputs.ndim == 2:
        targets = [classes.index(label) for label in labels.tolist()]
        source = f"{remote.source}, {_MARK}{_sum(inputs, targets)}"
        whole = Dataset(name, inputs, targets, classes, source).standardised()
    if whole is None or whole.features != remote.features:
        raise ValueError(
            f"{name} must have {remote.features} features that vary and samples {remote.counts}, "
            f"got inputs of shape {inputs.shape} and {found}; another version is in {folder}"
        )
    return whole.grouped(binary)


def checksum(dataset: Dataset) -> str:
    """The SHA-256 of a fetched set, for a record to keep: the same wherever the set came from.

    It is taken before anything is rounded: of the columns that vary, in their order, as
    little-endian float64, row by row, then of the classes, counted from 0, as int64. Grouping
    classes and taking a subset leave it.

    Args:
        dataset: from :func:`fetch`.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: the set is not from :func:`fetch`.

    Example:
        >>> source = "a pocket, SHA-256 0a1b"
        >>> coins = Dataset("coins", [[0.0], [1.0]], [0, 1], source=source)
        >>> checksum(coins)
        '0a1b'
    """
    if not isinstance(dataset, Dataset):
        raise ValueError(f"dataset must be from uci.fetch, got {dataset!r}")
    _, mark, digest = dataset.source.rpartition(_MARK)
    if not mark:
        raise ValueError(
            f"dataset must be from uci.fetch, which notes a checksum, got {dataset.name} of source "
            f"{dataset.source!r}"
        )
    return digest


def _sum(inputs, targets):
    """The SHA-256 of the columns that vary, and of the classes."""
    varying = inputs[:, np.ptp(inputs, axis=0) > 0] if inputs.ndim == 2 else inputs
    parts = np.ascontiguousarray(varying, "<f8"), np.asarray(targets, "<i8")
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def _lies(remote, folder):
    """Are the plain files there, in the folder that is named? And the folder."""
    place = Path(folder) if folder else None
    return bool(place) and all((place / name).is_file() for name, _ in remote.files), place


def _plain(remote, folder):
    """Inputs and labels from the plain files of a folder."""
    lines = []
    for name, known in remote.files:
        content = (folder / name).read_bytes()
        if known not in (None, hashlib.md5(content).hexdigest()):
            raise ValueError(f"the MD5 of {name} is wrong")
        lines += content.decode("ascii").split("\n")
    if not remote.openml:
        return _lines(remote, lines)
    rows = [line.strip().split(remote.separator) for line in lines if line.strip()]
    names = rows.pop(0) if remote.answers and rows else list("x" * remote.features) + ["class"]
    own, *others = remote.answers or ("class",)
    if not rows:
        raise ValueError("it holds no samples")
    if len({len(row) for row in [names, *rows]}) > 1 or not {own, *others} <= set(names):
        raise ValueError(f"it must have columns {', '.join([own, *others])}, in every line")
    numbers = np.array(rows, dtype=float)
    kept = [j for j, column in enumerate(names) if column not in (own, *others)]
    labels = numbers[:, names.index(own)]
    return numbers[:, kept], np.array([f"{label + 1 - remote.lowest:g}" for label in labels])


def _openml(remote, folder):
    """Inputs and labels from OpenML, or from its cache in the folder."""
    from sklearn.datasets import fetch_openml

    found = fetch_openml(
        data_id=remote.openml, data_home=folder, as_frame=False, parser="liac-arff"
    )
    inputs = np.asarray(found.data, dtype=float)
    if remote.source == _CARDIO:  # V1 to V3 are times and a copy, V26 to V35 mark the pattern
        marks = inputs[:, 25:]
        if marks.shape[1] != 10 or not (np.sort(marks) == [0] * 9 + [1]).all():
            raise ValueError("its last ten of 35 columns do not mark one pattern each")
        inputs = inputs[:, 3:25]
    return inputs, np.asarray(found.target, dtype=str)


def _archive(remote, folder):
    """Inputs and labels from the text files of a UCI archive, or from its copy in the folder."""
    from sklearn.datasets import fetch_file

    place = folder / "uci"
    place.mkdir(parents=True, exist_ok=True)
    path = Path(fetch_file(remote.url, folder=place, local_filename=Path(remote.url).name))
    try:
        lines = []
        with zipfile.ZipFile(path) as archive:
            for name, checksum in remote.files:
                inside = [full for full in archive.namelist() if Path(full).name == name]
                content = archive.read(inside[0]) if inside else b""
                if not content or checksum not in (None, hashlib.md5(content).hexdigest()):
                    raise ValueError(f"{name} in {path.name} is missing or its MD5 is wrong")
                lines += content.decode("ascii").split("\n")
    except (ValueError, zipfile.BadZipFile):
        path.unlink()
        raise
    return _lines(remote, lines)


def _lines(remote, lines):
    """Inputs and labels of lines that end with the label."""
    lines = [line.strip() for line in lines if line.strip()]
    inputs = np.loadtxt(lines, delimiter=remote.separator, usecols=range(remote.features), ndmin=2)
    return inputs, np.array([line.rsplit(remote.separator, 1)[-1].strip() for line in lines])
