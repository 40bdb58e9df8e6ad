"""The same work by one process, several, and a Dask cluster, whatever happens to the workers."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import ROOT, contents, edit_params
from jobs import always_die, die_once, fail, slow_square

import stages.clean
import stages.deblur
import stages.evaluate
import stages.fetch_unsplash
import stages.ingest_gopro
import stages.resize
import stages.synthesize
from deblurgan import parallel
from deblurgan.errors import UserError
from deblurgan.images import write_png
from deblurgan.parallel import CLUSTER, WORKERS, each
from deblurgan.pretrained import PRETRAINED
from deblurgan.resize_jobs import ResizeJob, resize_files

pytestmark = pytest.mark.xdist_group("scale")  # what they share is made once


def run_stages(workspace: Path) -> dict[str, bytes]:
    for stage in (stages.clean, stages.synthesize, stages.resize):
        stage.main()
    return contents(workspace / "data") | contents(workspace / "metrics")


@pytest.fixture
def sources(workspace):
    edit_params(workspace, {"ingest_gopro": {"bundled": {"pairs": 2}}})
    stages.fetch_unsplash.main()
    stages.ingest_gopro.main()
    return workspace


@contextlib.contextmanager
def dask(folder: Path, env: dict[str, str], *options: str) -> Iterator[str]:
    """A scheduler and workers as a person starts them, in that folder; what names them."""
    place = folder / "scheduler.json"
    roles = {"scheduler": ("--host", "127.0.0.1", "--port", "0"), "worker": ("--nthreads", "1", *options)}
    with contextlib.ExitStack() as stack:
        for role, more in roles.items():
            command = [sys.executable, "-m", f"distributed.cli.dask_{role}", "--scheduler-file", str(place)]
            process = subprocess.Popen(
                [*command, "--no-dashboard", *more],
                cwd=folder,
                env=env,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # so that the workers' own processes end with them
            )
            stack.callback(process.wait)
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
            while not place.exists() or not place.read_text():  # the scheduler makes the file, then writes into it
                assert process.poll() is None
                time.sleep(0.1)
        yield json.loads(place.read_text())["address"].replace("tcp://", "dask://")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    with dask(tmp_path_factory.mktemp("dask"), env, "--nworkers", "2") as address:
        yield address


@pytest.mark.long
def test_outputs_do_not_depend_on_the_workers(sources, monkeypatch, cluster):
    monkeypatch.setenv(WORKERS, "1")
    alone = run_stages(sources)
    monkeypatch.setenv(WORKERS, "3")
    assert run_stages(sources) == alone
    monkeypatch.setenv(CLUSTER, cluster)
    assert run_stages(sources) == alone


@pytest.mark.long
def test_restoring_does_not_depend_on_the_workers(workspace, monkeypatch, cluster):
    """One process, several, and those of a cluster: each measures and restores all anew."""
    rng = np.random.default_rng(0)
    for i in range(4):
        sharp = rng.integers(0, 256, (40, 60 + 9 * i, 3), dtype=np.uint8)
        for half, image in (("blur", sharp // 2), ("sharp", sharp)):
            write_png(workspace / f"data/resized/test/filmed/s/{half}/{i}.png", image)
        write_png(workspace / f"data/resized/unpaired/{i}.png", sharp // 3)
    (workspace / "models").mkdir()
    shutil.copy(PRETRAINED.with_suffix(".onnx"), workspace / "models")
    edit_params(workspace, {"evaluate": {"panels": 2, "baselines": ["unsharp"]}})
    found = []
    for name, value in ((WORKERS, "1"), (WORKERS, "3"), (CLUSTER, cluster)):
        monkeypatch.setenv(name, value)
        monkeypatch.setenv("DEBLURGAN_CACHE", str(workspace / value.replace("/", "")))
        stages.evaluate.main()
        stages.deblur.main()
        found.append(contents(workspace / "metrics") | contents(workspace / "data/deblurred"))
        shutil.rmtree(workspace / "metrics")
    assert found[0] == found[1] == found[2]
    assert sum(name.endswith(".png") for name in found[0]) == 4 + 2 + 1  # photos, panels, gains


def do(work, items) -> list:
    return list(each(work, items, label="test", unit="item"))


@pytest.mark.parametrize("workers", ["1", "2", "5"])
def test_results_come_in_order(monkeypatch, workers):
    monkeypatch.setenv(WORKERS, workers)
    assert do(slow_square, range(40)) == [n * n for n in range(40)]
    assert do(slow_square, []) == []


def test_a_killed_process_changes_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv(WORKERS, "2")
    mark = str(tmp_path / "died")
    assert do(die_once, [(n, mark) for n in range(30)]) == [n * n for n in range(30)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["died11", "died3"]


def test_a_killed_dask_worker_changes_nothing(monkeypatch, tmp_path, cluster):
    monkeypatch.setenv(CLUSTER, cluster)
    mark = str(tmp_path / "died")
    assert do(die_once, [(n, mark) for n in range(30)]) == [n * n for n in range(30)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["died11", "died3"]


def test_a_cluster_without_workers_left_says_that_it_waits(monkeypatch, tmp_path, capsys):
    """They may have been a night's spot instances; the work goes on with those that come."""
    monkeypatch.setattr(parallel, "PATIENCE_FOR_RESULTS", 0.1)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    with dask(tmp_path, env, "--no-nanny") as address:
        monkeypatch.setenv(CLUSTER, address)
        squares = each(slow_square, range(40), label="test", unit="item")
        assert next(squares) == 0
        place = str(tmp_path / "scheduler.json")
        words = {"distributed.cli.dask_worker", place}
        (worker,) = [p for p in psutil.Process().children(recursive=True) if words <= set(p.cmdline())]
        worker.kill()
        rest = []
        waiter = threading.Thread(target=lambda: rest.extend(squares))
        waiter.start()
        said = ""
        while "no workers left at the Dask scheduler" not in said:
            said += capsys.readouterr().err
            time.sleep(0.05)
        command = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", place, "--no-dashboard"]
        another = subprocess.Popen([*command, "--no-nanny"], cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
        waiter.join()
        another.kill()
        another.wait()
    assert rest == [n * n for n in range(1, 40)]


def test_workers_that_keep_dying_are_one_line(monkeypatch):
    monkeypatch.setenv(WORKERS, "2")
    with pytest.raises(
        UserError, match=r"killed 3 times around item 1 of 4: if memory is short, set DEBLURGAN_WORKERS=1"
    ):
        do(always_die, range(4))


def test_a_cluster_that_keeps_dying_is_one_line(monkeypatch, cluster):
    monkeypatch.setenv(CLUSTER, cluster)
    with pytest.raises(UserError, match=r"workers of the Dask cluster at 127\.0\.0\.1:\d+ keep dying"):
        do(always_die, range(4))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_the_work_raises_arrives(monkeypatch, workers):
    monkeypatch.setenv(WORKERS, workers)
    with pytest.raises(OSError, match=r"No space left on device: 'x\.png'"):
        do(fail, range(40))


def test_few_items_are_under_way_at_once(monkeypatch):
    """However slowly results are taken: memory does not grow with the number of items."""
    monkeypatch.setenv(WORKERS, "1")
    started = []
    results = each(lambda n: started.append(n) or n, range(1000), label="test", unit="item")
    for _ in range(10):
        next(results)
    assert len(started) <= 10 + parallel.AHEAD


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (WORKERS, "many", "'many' is no number of processes"),
        (WORKERS, "0", "'0' is no number of processes"),
        (CLUSTER, "spark://127.0.0.1:1", r"no dask://host:port"),
        (CLUSTER, "dask://127.0.0.1:9", r"no Dask scheduler answers at 127\.0\.0\.1:9"),
    ],
)
def test_a_wrong_environment_is_one_line(monkeypatch, name, value, said):
    monkeypatch.setattr(parallel, "PATIENCE_FOR_DASK", 1)
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said):
        do(slow_square, range(3))


def test_a_cluster_without_this_package_is_one_line(monkeypatch, tmp_path):
    """Started elsewhere, in an environment of its own."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with dask(tmp_path, env, "--no-nanny") as address:
        monkeypatch.setenv(CLUSTER, address)
        with pytest.raises(UserError, match=r"cannot import deblurgan: start them in the root"):
            do(resize_files, [ResizeJob((), None)])


def test_processes_end_with_their_parent(tmp_path):
    """A killed run leaves no process behind that would go on writing, and nothing of Python's own in the terminal."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from deblurgan.parallel import each; from jobs import slow_square\n"
        "if __name__ == '__main__':\n"
        "    for _ in each(slow_square, range(10**6), label='x', unit='x'): print('.', flush=True)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    env = {**os.environ, WORKERS: "2"}
    process = subprocess.Popen(
        [sys.executable, str(script), str(ROOT), str(ROOT / "tests")], env=env, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    said = process.communicate()[1]
    assert said
    assert all(line.startswith("x: ") for line in said.replace("\r", "\n").splitlines() if line), said
