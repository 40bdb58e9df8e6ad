"""python -m deblurgan events: killed, stopped, in the face of faults and poison, no photo is lost or half written."""

import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from aws import environment, moto
from conftest import ROOT, edit_params
from faulty_proxy import FAULTS, FaultyProxy, by_chance
from live import Live, picture
from servers import running

from deblurgan.errors import UserError
from deblurgan.events import command
from deblurgan.events.process import process

KILLED = int(os.environ.get("DEBLURGAN_TEST_KILLED", "120"))
"""Objects of the test with kills; 500 take minutes."""
KILLS, FAULTY = 6, 40
"""Kills, and objects of the test with faults."""
CONTENTS = [picture(i, kind) for i, kind in enumerate(["PNG", "JPEG", "WEBP", "BMP"])] + [b"a note", picture(9)[:200]]


@pytest.fixture
def live(workspace):
    edit_params(workspace, {"resize": {"width": 64, "height": 64}})
    with moto() as address:
        yield Live(address)


def expected(live: Live, keys: list[str]) -> dict[str, bytes]:
    """What photos with `CONTENTS` in turn become, made undisturbed and one by one."""
    live.s3.create_bucket(Bucket="undisturbed")
    settings = live.settings(resized="undisturbed")
    made, kinds = {}, []
    for i, data in enumerate(CONTENTS):
        live.s3.put_object(Bucket=live.source, Key=f"other/{i}", Body=data)
        kinds.append(process(live.source, f"other/{i}", settings).kind)
    for i, key in enumerate(keys):
        if kinds[i % len(CONTENTS)] == "resized":
            made[f"{key}.png"] = live.read("undisturbed", f"other/{i % len(CONTENTS)}.png")
        else:
            report = json.loads(live.read("undisturbed", f"rejected/other/{i % len(CONTENTS)}.json"))
            made[f"rejected/{key}.json"] = report["reason"].encode()
    return made


def found(live: Live) -> dict[str, bytes]:
    """Photos, and reasons of the rejected ones."""
    made = live.contents(live.resized)
    for key, data in made.items():
        if key.endswith(".json"):
            report = json.loads(data)
            assert key == f"rejected/{report['key']}.json"
            made[key] = report["reason"].encode()
    return made


def put_all(live: Live, number: int) -> list[str]:
    keys = [f"photos/{i:03d} ü+.jpg" for i in range(number)]
    for i, key in enumerate(keys):
        live.put(key, CONTENTS[i % len(CONTENTS)])
    return keys


def wait_until(true, seconds: float = 60, pause: float = 0.2):
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end
        time.sleep(pause)
    return value


def test_what_has_arrived_is_done_and_counted(live, workspace):
    keys = put_all(live.create(), len(CONTENTS))
    said, errors = live.worker("--once", cwd=workspace).finish()
    assert errors == ""
    assert [line["outcome"] for line in said[:1] + said[-1:]] == ["started", "ended"]
    assert {line["key"] for line in said[1:-1]} == set(keys)
    assert said[-1] == {"outcome": "ended", "rejected": 2, "resized": 4}
    assert found(live) == expected(live, keys)
    assert live.waiting(live.queue) == 0


def logged(folder: Path) -> int:
    """Lines of log of all workers so far."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.said"))


@pytest.mark.long
def test_kills_lose_nothing(live, workspace):
    """Workers, and now and then all of them, at random moments; what is under way comes again."""
    keys = put_all(live.create(), KILLED)
    rng, process = random.Random(0), None
    for moment in sorted(rng.sample(range(KILLED - 20), KILLS)):  # in objects that are done
        if process is None or process.poll() is not None:
            process = live.worker("--workers", 2, "--visibility", 2, cwd=workspace)
        wait_until(lambda m=moment: logged(workspace) >= m, 300)
        time.sleep(rng.uniform(0, 0.1))
        children = process.children()
        if rng.random() < 0.3 or not children:
            process.kill()
            process.wait()
        else:
            rng.choice(children).kill()
    if process.poll() is not None:
        process = live.worker("--workers", 2, "--visibility", 2, cwd=workspace)
    wait_until(lambda: not live.waiting(live.queue), 300, 0.5)
    process.terminate()
    process.finish()
    assert live.waiting(live.dead) == 0
    assert found(live) == expected(live, keys)


@pytest.mark.long
def test_faults_lose_nothing(live, workspace):
    keys = put_all(live.create(), FAULTY)
    with running(FaultyProxy(live.address, by_chance(0.12))) as proxy:
        there = replace(live, address=proxy.address)
        process = there.worker("--workers", 3, "--visibility", 10, cwd=workspace)
        wait_until(lambda: not live.waiting(live.queue), 300, 0.5)
        process.terminate()
        process.finish()
    assert set(FAULTS) <= set(proxy.faults)
    assert live.waiting(live.dead) == 0
    assert found(live) == expected(live, keys)


def test_poison_is_laid_aside_and_does_not_stop_the_others(live, workspace):
    live.create(receives=2)
    lost = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "nowhere"}, "object": {"key": "a.png"}}}
    bodies = ["poison", "[]", '{"Records": [{}]}', json.dumps({"Records": [lost]})]
    for body in bodies:
        live.sqs.send_message(QueueUrl=live.queue, MessageBody=body)
    keys = put_all(live, 4)
    process = live.worker("--visibility", 2, cwd=workspace)
    wait_until(lambda: live.waiting(live.dead) == len(bodies) and not live.waiting(live.queue))
    process.terminate()
    said, _ = process.finish()
    failed = [line["error"] for line in said if line["outcome"] == "failed"]
    assert len(failed) == 2 * len(bodies)
    assert not [error for error in failed if "\n" in error]
    assert said[-1] == {"outcome": "ended", "failed": 8, "resized": 4}
    assert found(live) == expected(live, keys)
    assert live.waiting(live.queue) == 0


KILLER = """
import os, signal, sys
if "spawn_main" in " ".join(sys.orig_argv):
    from botocore.client import BaseClient
    usual = BaseClient._make_api_call
    def call(self, name, arguments):
        if name == "GetObject" and "killer" in arguments["Key"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(self, name, arguments)
    BaseClient._make_api_call = call
"""
"""A module that Python imports at its start."""


@pytest.mark.long
def test_a_photo_that_kills_its_worker_leaves_the_others_alone(live, workspace):
    """As one does that takes more memory than there is."""
    (workspace / "sitecustomize.py").write_text(KILLER)
    live.create(receives=2).put("photos/killer.jpg", picture(1))
    keys = put_all(live, 20)
    process = live.worker("--workers", 2, "--visibility", 2, cwd=workspace, PYTHONPATH=f"{workspace}:{ROOT}")
    wait_until(lambda: live.waiting(live.dead) == 1 and not live.waiting(live.queue))
    process.terminate()
    said, _ = process.finish()
    assert said[-1]["worker ended"] == 2
    assert found(live) == expected(live, keys)
    assert live.waiting(live.queue) == 0


def slow_photos(path: str) -> str | None:
    """Whatever is asked about source photos takes its time."""
    return "slow" if path.startswith("/live-source/photos") else None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_the_photo_is_done(live, workspace, number):
    """The signal comes while the photo is fetched, to all processes if it is Ctrl-C."""
    live.create().put("photos/a.png", picture(1))
    with running(FaultyProxy(live.address, slow_photos, pause=3.0)) as proxy:
        there = replace(live, address=proxy.address)
        process = there.worker("--workers", 2, cwd=workspace)
        wait_until(lambda: proxy.faults["slow"])
        for one in [process, *process.children()] if number == signal.SIGINT else [process]:
            one.send_signal(number)
        said, errors = process.finish()
    assert errors == ""
    assert said[-1] == {"outcome": "ended", "resized": 1}
    assert live.waiting(live.queue) == 0


def test_a_second_signal_ends_it_at_once_and_the_message_comes_again(live, workspace):
    live.create().put("photos/a.png", picture(1))
    with running(FaultyProxy(live.address, slow_photos, pause=20.0)) as proxy:
        process = replace(live, address=proxy.address).worker("--visibility", 2, cwd=workspace)
        wait_until(lambda: proxy.faults["slow"])
        process.terminate()
        time.sleep(0.5)
        assert process.poll() is None
        process.terminate()
        process.finish(seconds=5)
    time.sleep(2)
    said, _ = live.worker("--once", cwd=workspace).finish()
    assert said[-1] == {"outcome": "ended", "resized": 1}


def test_a_message_is_kept_from_others_as_long_as_it_takes(live, workspace):
    """Two workers, and a photo that takes several times the visibility: it is done once."""
    live.create().put("photos/a.png", picture(1))
    with running(FaultyProxy(live.address, slow_photos, pause=6.0)) as proxy:
        there = replace(live, address=proxy.address)
        said, _ = there.worker("--workers", 2, "--visibility", 2, "--once", cwd=workspace).finish()
    assert [line["outcome"] for line in said] == ["started", "resized", "ended"]
    assert said[1]["seconds"] > 12


def test_mistakes_are_one_line(live, workspace, monkeypatch, capsys):
    queue = live.create().queue
    for name, value in {**environment(live.address), "DEBLURGAN_RESIZED": live.resized}.items():
        monkeypatch.setenv(name, value)
    for arguments, message in (
        (("--resized", ""), "--resized, or DEBLURGAN_RESIZED, must name the bucket"),
        (("--workers", "0"), "--workers must be 1 or more"),
        (("--visibility", "1"), "--visibility must be 2 to 43200"),
    ):
        with pytest.raises(SystemExit):
            command.main(["--queue", queue, *arguments])
        assert message in capsys.readouterr().err
    for arguments, message in (
        (("--resized", "nobodys"), "^s3://nobodys: there is no such bucket"),
        (("--deblurred", "d"), "^DEBLURGAN_DEBLURRED is given without DEBLURGAN_MODEL"),
        (("--params", "nowhere.yaml"), "^nowhere.yaml is missing"),
        (("--queue", f"{queue}-not"), f"^{queue}-not: "),
    ):
        with pytest.raises(UserError, match=message):
            command.main(["--queue", queue, *arguments])


def test_workers_that_cannot_begin_are_an_error(live, workspace):
    """And not begun again without end."""
    (workspace / "sitecustomize.py").write_text(
        KILLER.replace("    from botocore", "    os._exit(3)\n    from botocore")
    )
    process = live.create().worker(cwd=workspace, PYTHONPATH=f"{workspace}:{ROOT}")
    said, errors = process.finish(code=1)
    assert [line["exitcode"] for line in said[1:]] == [3, 3, 3]
    assert errors == "events: error: workers ended 3 times before they had begun: see what they say above\n"


def test_a_queue_without_dead_letters_is_warned_of(live, workspace):
    live.queue = live.create().sqs.create_queue(QueueName="lonely")["QueueUrl"]
    _, errors = live.worker("--once", cwd=workspace).finish()
    assert errors == f"events: warning: {live.queue} has no dead-letter queue: what fails is tried again and again\n"
