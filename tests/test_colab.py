"""A chapter alone in an empty folder, with nothing but what Colab ships, runs to its end.

The environment holds the packages of ``colab.txt``; ``ddt_utils`` comes from a temporary commit of
the working tree through ``DDT_UTILS_SOURCE``, so the set-up cell is tried as well. By default one
chapter per part runs, with ``DDT_COLAB=all`` every one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import notebooks
import plain_notebooks
import pytest

ROOT = notebooks.ROOT
ENVIRONMENT = ROOT / ".venv-colab"
LIST = ROOT / "tests" / "colab.txt"


def chosen():
    """The shortest chapter of every folder, or all of them."""
    everything = [
        plain_notebooks.COLAB / p.relative_to(notebooks.BOOK).with_suffix(".ipynb")
        for p in notebooks.chapters()
    ]
    if os.environ.get("DDT_COLAB") == "all":
        return everything
    took = notebooks.run_times(notebooks.RUNTIMES)
    shortest = {}
    for path in everything:
        name = path.relative_to(plain_notebooks.COLAB).with_suffix("").as_posix()
        best = shortest.setdefault(path.parent, (took[name], path))
        shortest[path.parent] = min(best, (took[name], path))
    shortest.pop(plain_notebooks.COLAB, None)  # the landing page is not a part
    return [path for _, path in shortest.values()]


def run(*command, **options):
    return subprocess.run(
        [str(c) for c in command], check=True, capture_output=True, text=True, **options
    )


@pytest.fixture(scope="session")
def python():
    """The interpreter of an environment that holds only what Colab ships."""
    stamp, wanted = ENVIRONMENT / ".made-from", LIST.read_text(encoding="utf-8")
    binary = ENVIRONMENT / "bin" / "python"
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        run(sys.executable, "-m", "venv", ENVIRONMENT)
        run(binary, "-m", "pip", "install", "-q", "-r", LIST, "setuptools")
        stamp.write_text(wanted, encoding="utf-8")
    run(binary, "-m", "pip", "uninstall", "-q", "-y", "ddt-utils")
    return binary


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A git address of the working tree as it is now, changes and all."""
    clone = tmp_path_factory.mktemp("source") / "escape"
    names = run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file() and name.startswith(
            ("ddt_utils/", "pyproject", "README", "LICENSE")
        ):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    run("git", "init", "-q", clone)
    run("git", "-C", clone, "add", "-A")
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    run("git", "-C", clone, *identity, "commit", "-q", "-m", "the working tree")
    return f"git+file://{clone}"


RUNNER = """
import sys
from nbclient import NotebookClient
import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

python, path = sys.argv[1:]
manager = AsyncKernelManager()
command = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
manager._kernel_spec = KernelSpec(argv=command, display_name="Colab", language="python")
notebook = nbformat.read(path, as_version=4)
NotebookClient(notebook, km=manager, timeout=900).execute()
nbformat.write(notebook, path)
"""


def printed(notebook):
    """What the cells printed, without the set-up cell."""
    cells = [c for c in notebook.cells if c.cell_type == "code" and not notebooks.is_setup(c)]
    return [o.text for c in cells for o in c.outputs if o.get("name") == "stdout"]


@pytest.mark.parametrize("path", chosen(), ids=lambda p: p.stem)
def test_a_chapter_runs_alone(path, python, source, tmp_path):
    alone = tmp_path / path.name
    shutil.copy(path, alone)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MPLBACKEND")}
    environment |= {"DDT_UTILS_SOURCE": source, "DDT_UTILS_CACHE": str(tmp_path / "cache")}
    run(python, "-m", "pip", "uninstall", "-q", "-y", "ddt-utils")
    result = subprocess.run(
        [sys.executable, "-c", RUNNER, str(python), str(alone)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    notebook = nbformat.read(alone, as_version=4)
    said = [
        o.text for c in notebook.cells if notebooks.is_setup(c) for o in c.outputs if "text" in o
    ]
    assert f"installed it from {source}" in "".join(said)
    assert printed(notebook), "the chapter printed nothing"
    leftovers = {p.name for p in Path(tmp_path).iterdir()} - {path.name, "cache"}
    assert not leftovers
