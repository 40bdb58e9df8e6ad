"""kill -9 at any moment: the next run completes, with the output of an undisturbed one."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, contents, edit_params, listens_to_interrupts
from servers import KEY, FileServer, Unsplash, running
from test_ingest import TEST, TRAIN, png

import stages.clean
import stages.fetch_unsplash
import stages.ingest_gopro
import stages.synthesize

KILLS = 6


def stage_process(name: str, **env: str) -> subprocess.Popen:
    full = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{name}"],
        env=full,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listens_to_interrupts,
    )


def finish(name: str, **env: str) -> None:
    process = stage_process(name, **env)
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def unpublished(folder: str) -> int:
    """How many images a running stage has written; what vanishes meanwhile does not count."""
    path = Path(folder)
    partials = (found for found in path.parent.iterdir() if found.name.startswith(f".{path.name}."))
    walks = (walk for found in partials for walk in os.walk(found))
    return sum(file.endswith(".png") for _, _, files in walks for file in files)


def kill_when(name: str, moment, **env: str) -> bool:
    """Start a stage, kill it when `moment` says so; whether it had not finished before."""
    process = stage_process(name, **env)
    while process.poll() is None and not moment():
        time.sleep(0.005)
    running_still = process.poll() is None
    process.kill()
    process.communicate()
    return running_still


@pytest.mark.long
def test_a_fetch(workspace):
    """No request is spent twice, but for the one that a kill catches between answer and record."""
    edit_params(
        workspace,
        {
            "fetch_unsplash": {
                "source": "api",
                "sharp_queries": ["a", "b"],
                "blurred_queries": ["c"],
                "photos_per_query": 15,
            }
        },
    )
    with running(Unsplash()) as server:
        env = {"UNSPLASH_API": server.address, "UNSPLASH_ACCESS_KEY": KEY}
        finish("fetch_unsplash", **env)
        undisturbed = contents("data/source/unsplash")
        needed = len([path for path, _, _ in server.requests if not path.startswith("/image/")])
        assert needed == 3 + 45
        server.requests.clear()

        env["DEBLURGAN_CACHE"] = str(workspace / "another cache")
        rng, kills = random.Random(0), 0
        for _ in range(KILLS):
            already = len(server.requests)
            more = rng.randrange(2 * 48 // KILLS)
            kills += kill_when("fetch_unsplash", lambda a=already, m=more: len(server.requests) > a + m, **env)
        assert kills >= KILLS // 2
        finish("fetch_unsplash", **env)
        assert contents("data/source/unsplash") == undisturbed
        spent = [path for path, _, _ in server.requests if not path.startswith("/image/")]
        assert needed <= len(spent) <= needed + kills
        assert not [path for path in Path("data/source").iterdir() if path.name != "unsplash"]


def big_archive(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for part, scene in (("train", TRAIN), ("test", TEST)):
            for frame in range(60):
                for kind in ("blur", "sharp"):
                    name = f"{part}/{scene}/{kind}/{frame:06d}.png"
                    archive.writestr(name, png(name, (100, 100)))
    return path


@pytest.mark.long
def test_an_ingest_from_a_zip(workspace):
    big_archive(workspace / "raw.zip")
    edit_params(workspace, {"ingest_gopro": {"source": "raw.zip", "blur": "blur"}})
    finish("ingest_gopro")
    undisturbed = contents("data/source/pairs")
    assert len(undisturbed) == 240
    rng, kills = random.Random(1), 0
    for _ in range(KILLS):
        many = rng.randrange(240)

        def moment(many=many) -> bool:
            return unpublished("data/source/pairs") > many

        kills += kill_when("ingest_gopro", moment)
    assert kills >= KILLS // 2
    finish("ingest_gopro")
    assert contents("data/source/pairs") == undisturbed
    assert [path.name for path in Path("data/source").iterdir()] == ["pairs"]


@pytest.mark.long
def test_a_download(workspace):
    body = big_archive(workspace / "raw.zip").read_bytes()
    with running(FileServer(body)) as server:
        server.pace, server.pause = 1 << 15, 0.01
        checksum = hashlib.sha256(body).hexdigest()
        source = {"source": f"{server.address}/raw.zip", "blur": "blur", "sha256": checksum}
        edit_params(workspace, {"ingest_gopro": source})
        rng = random.Random(2)
        cache = workspace / "cache/archives"
        starts = []
        for _ in range(KILLS):
            before = sum(path.stat().st_size for path in cache.glob("*.part"))
            starts.append(before)
            aim = before + rng.randrange(len(body) // KILLS)
            kill_when("ingest_gopro", lambda a=aim: sum(path.stat().st_size for path in cache.glob("*.part")) > a)
        assert starts == sorted(starts)
        assert starts[-1] > 0
        server.pause = 0
        finish("ingest_gopro")
        assert any(asked and asked != "bytes=0-" for asked in server.ranges)
    assert len(contents("data/source/pairs")) == 240


@pytest.mark.parametrize("name", [pytest.param("clean", marks=pytest.mark.long), "synthesize"])
def test_work_on_several_processes(workspace, name):
    """Nothing that a dying worker still writes can end up in the next run's output."""
    edit_params(workspace, {"ingest_gopro": {"bundled": {"pairs": 2}}})
    env = {"DEBLURGAN_WORKERS": "2"}
    for stage in (stages.fetch_unsplash, stages.ingest_gopro, stages.clean, stages.synthesize):
        stage.main()
    folder = {"clean": "data/clean", "synthesize": "data/synthetic"}[name]
    undisturbed = contents(folder)
    rng, kills = random.Random(3), 0
    for _ in range(3):
        many = rng.randrange(len(undisturbed) // 2)

        def moment(many=many) -> bool:
            return unpublished(folder) > many

        kills += kill_when(name, moment, **env)
    assert kills
    finish(name, **env)
    assert contents(folder) == undisturbed
    assert not [path for path in Path("data").iterdir() if path.name.startswith(".")]
    left = [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(workspace) and p.pid != os.getpid()]
    _, alive = psutil.wait_procs(left, timeout=60)
    assert not alive


@pytest.mark.parametrize("presses", [1, 3])
def test_an_interrupt_ends_all_processes_with_one_line(workspace, presses):
    for stage in (stages.fetch_unsplash, stages.ingest_gopro, stages.clean):
        stage.main()
    process = stage_process("synthesize", DEBLURGAN_WORKERS="2")
    while process.poll() is None and not unpublished("data/synthetic"):
        time.sleep(0.01)
    for _ in range(presses):
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.02)
    _, errors = process.communicate()
    assert process.returncode
    assert "Traceback" not in errors or presses > 1
    assert "synthesize: interrupted; no half result was published" in errors or presses > 1
    assert not Path("data/synthetic").exists()
    left = [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(workspace) and p.pid != os.getpid()]
    _, alive = psutil.wait_procs(left, timeout=60)
    assert not alive
