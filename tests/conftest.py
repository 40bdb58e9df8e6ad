"""Shared pieces: copies of this repository, small parameters, and DVC run as a user runs it."""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock
from ruamel.yaml import YAML

from deblurgan.parallel import usable_cores
from deblurgan.params import Generator

NOT_OURS = (
    "AWS_", "COLUMNS", "CUBLAS_", "DEBLURGAN_", "DVC_", "FORCE_COLOR", "GIT_", "HF_", "JAX_", "KAGGLE", "KERAS_",
    "LANG", "LC_", "NVIDIA_TF32_OVERRIDE", "PYTHONWARNINGS", "TF_", "UNSPLASH_", "XDG_", "XLA_",
)  # fmt: skip
"""Beginnings of environment variables that would change what a test sees, or a stage computes."""
OURS = ("DEBLURGAN_TEST_", "HF_HUB_OFFLINE", "TF_FORCE_GPU_ALLOW_GROWTH")
"""Those among them that only say what the machine has."""


def strangers(environment: dict[str, str]) -> list[str]:
    """The variables of an environment that no test may depend on."""
    return [name for name in environment if name.startswith(NOT_OURS) and not name.startswith(OURS)]


LONG = "DEBLURGAN_TEST_LONG"
"""Environment variable: 1 where tests run that are marked as long."""
HOME = "DEBLURGAN_TEST_HOME"
"""Environment variable: an empty home directory for all processes of a run of the tests."""
for name in strangers(dict(os.environ)):
    del os.environ[name]
if HOME not in os.environ:  # in the first process; the others inherit it
    os.environ[HOME] = tempfile.mkdtemp(prefix="home-of-tests-")
    atexit.register(shutil.rmtree, os.environ[HOME], ignore_errors=True)
os.environ.update({"HOME": os.environ[HOME], "LC_ALL": "C.UTF-8", "SHELL": "/bin/sh"})
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # without byte code every process would compile TensorFlow anew
sys.dont_write_bytecode = False
os.environ["DEBLURGAN_WORKERS"] = "1"  # images of these tests are smaller than the start of a process
hypothesis.settings.register_profile("unhurried", deadline=None)  # a slow machine is no failure
hypothesis.settings.load_profile("unhurried")
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"  # where all servers of these tests are

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "tests/params.yaml"
"""The tests' own parameters, of the default's size: those of params.yaml are the user's."""
REAL_DATA = Path(os.environ.get("DEBLURGAN_TEST_DATA", ROOT.parent / "shared/data"))
"""Where real files may lie that only add cases: GOPRO_Large, VGG19."""
SMALL = Generator(
    architecture="resnet",
    filters=4,
    blocks=1,
    attention="none",
    norm="none",
    upsample="transpose",
    dropout=0.0,
    identity_start=False,
)
"""A generator to vary."""
TINY = {
    "ingest_gopro": {"bundled": {"pairs": 1, "width": 48, "height": 48}},
    "synthesize": {"pairs_per_photo": 1},
    "resize": {"width": 64, "height": 64},
    "generator": {"filters": 4, "blocks": 1},
    "critic": {"filters": 4, "layers": 1},
    "train": {"steps": 4, "validate_every": 2, "crop": 32, "batch_size": 2},
    "evaluate": {"panels": 1},
}
"""What makes the whole pipeline run in seconds."""


def some_long(names: Iterable[str], *slow: str) -> list:
    """Values to parametrize a test with, of which the slow ones mark it as long."""
    return [pytest.param(name, marks=pytest.mark.long) if name in slow else name for name in names]


def edit_params(root: Path, changes: dict) -> None:
    """Change values of params.yaml, comments kept."""
    yaml, path = YAML(), root / "params.yaml"
    values = yaml.load(path)
    for section, keys in changes.items():
        for key, value in keys.items():
            if isinstance(value, dict):
                values[section][key].update(value)
            else:
                values[section][key] = value
    yaml.dump(values, path)


def contents(folder: Path | str) -> dict[str, bytes]:
    """All files below a folder, by their paths there."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def listens_to_interrupts() -> None:
    """For a new process: hear Ctrl-C, also where the tests run in the background of a shell, which mutes it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Repo:
    """A copy of this repository, under git, in a directory of its own."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root = root
        name = {f"GIT_{role}_{key}": "test@example" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.env = {**os.environ, **name, "PATH": path, "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true"}

    def run(self, *command: str, ok: bool = True, env: dict | None = None) -> str:
        """Run a command there; its whole output. `ok`: whether it must succeed, or must fail."""
        done = subprocess.run(command, cwd=self.root, env={**self.env, **(env or {})}, capture_output=True, text=True)
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, f"{command} exited with {done.returncode}:\n{output}"
        return output

    def dvc(self, *arguments: str, ok: bool = True, env: dict | None = None) -> str:
        """Run DVC there."""
        return self.run(sys.executable, "-m", "dvc", *arguments, ok=ok, env=env)

    def git(self, *arguments: str) -> str:
        """Run git there."""
        return self.run("git", *arguments)

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def copy(self, root: Path) -> "Repo":
        """Copy everything, DVC's cache too; its trainings leave checkpoints where no other test tidies up."""
        shutil.copytree(self.root, root, symlinks=True)
        twin = Repo(root, root)
        twin.env = {**self.env, "DEBLURGAN_CACHE": str(root.parent / f"cache of {root.name}")}
        return twin


def git(*arguments: str) -> bytes:
    """What git says about this repository; the test is skipped where there is none, as in an unpacked archive."""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True)
    if done.returncode:
        pytest.skip(f"git {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return done.stdout


def committed(name: str) -> str:
    """A file as it was committed: that of the working tree may hold what a user's own run has made of it."""
    return git("show", f"HEAD:./{name}").decode()


REMOTES = ("source", "resized", "deblurred", "models")
CONFIG = "[core]\n    remote = models\n    analytics = false\n    check_update = false\n" + "".join(
    f"['remote \"{name}\"']\n    url = s3://test-{name}\n" for name in REMOTES
)
"""DVC's settings in copies of this repository: a user has buckets of his own."""
THEIRS = ("params.yaml", "dvc.lock", ".dvc/config")
"""What a user changes without a change of the code."""


def fresh_copy(root: Path, home: Path) -> Repo:
    """Copy what git has, and what it would take of code, as a fresh clone would hold it, with the tiny parameters."""
    code = ("stages", "deblurgan")
    listed = git("ls-files", "-z") + git("ls-files", "-z", "--others", "--exclude-standard", "--", *code)
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file() and name not in THEIRS:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    shutil.copy(PARAMS, root / "params.yaml")
    edit_params(root, TINY)
    (root / ".dvc/config").write_text(CONFIG)
    repo = Repo(root, home)
    repo.git("init", "-q", "-b", "main")
    repo.commit("Start")
    return repo


@pytest.fixture
def eager() -> Iterator[None]:
    """Compute step by step: to compile a training takes longer than a few steps."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the tiny parameters and a cache of its own, to call a stage's `main` in."""
    shutil.copy(PARAMS, tmp_path)
    edit_params(tmp_path, TINY)
    for name in [name for name in os.environ if name.lower().endswith("_proxy") and name.lower() != "no_proxy"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEBLURGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long`: the whole."""
    parser.addoption("--long", action="store_true", help="also run the tests that are marked as long (make test-all)")


def pytest_configure(config: pytest.Config) -> None:
    """Decide whether long tests run: if asked for, or if files or tests are named."""
    if not hasattr(config, "workerinput"):  # in the first process; the others inherit it
        os.environ[LONG] = str(int(config.option.long or bool(config.option.file_or_dir)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave long tests out."""
    if os.environ[LONG] == "0":
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: two processes more than cores, since many tests wait for servers, clocks and processes of theirs."""
    return usable_cores() + 2


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], str]) -> Repo:
    """A repository that the first process that asks for it makes, below a folder that all find.

    Parameters
    ----------
    tmp_path_factory
        Of pytest.
    name
        Of its folder.
    make
        Fills the folder; what it returns is the repository's `first_output`.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root, home, output = shared / "one" / name, shared / "home", shared / f"output of {name}.txt"
    home.mkdir(exist_ok=True)
    with FileLock(output.with_suffix(".lock")):
        if not output.exists():
            output.write_text(make(root))
    repo = Repo(root, home)
    repo.first_output = output.read_text()
    return repo


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A copy in which the whole pipeline has run and is committed. Do not change it: copy it.

    `first_output` holds what the pipeline printed.
    """

    def make(root: Path) -> str:
        repo = fresh_copy(root, root.parents[1] / "home")
        printed = repo.dvc("repro")
        repo.commit("Run the pipeline")
        return printed

    return made_once(tmp_path_factory, "a clone", make)


@pytest.fixture(scope="session")
def heavier(tmp_path_factory: pytest.TempPathFactory, finished: Repo) -> Repo:
    """A copy of `finished` with an experiment of that name, applied and committed. Do not change it: copy it.

    `first_output` holds what the experiment printed.
    """

    def make(root: Path) -> str:
        repo = finished.copy(root)
        printed = repo.dvc("exp", "run", "-n", "heavier", "-S", "train.lambda_pixel=50")
        repo.commit("Heavier pixel loss")
        return printed

    return made_once(tmp_path_factory, "heavier", make)
