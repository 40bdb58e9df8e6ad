"""Downloads: secrets stay where they belong, damage is found, no server holds a run up; and how errors are reported."""

import errno
import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import requests
from conftest import ROOT, contents, edit_params, listens_to_interrupts
from requests.adapters import HTTPAdapter
from servers import Clock, FileServer, Handler, Server, running
from test_ingest import LAYOUTS, KaggleHandler, official, pack, png

import stages.ingest_gopro
from deblurgan.errors import UserError, reported
from deblurgan.sources import kaggle, web

SIGNED = "?X-Amz-Credential=someone&X-Amz-Signature=secret#secret"


def zipped(filling: bytes = b"a") -> bytes:
    """An archive of a size that does not depend on what is in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in official():
            archive.writestr(zipfile.ZipInfo(name), png(name))
        archive.writestr(zipfile.ZipInfo("readme.txt"), filling * 1_000_000)
    return buffer.getvalue()


def flipped(body: bytes) -> bytes:
    """One bit of an image is another; only the zip's checksum tells."""
    image = png(official()[0])
    at = body.index(image) + len(image) // 2
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(web, "time", clock)
    return clock


@pytest.fixture
def archive(workspace, clock):
    with running(FileServer(zipped())) as server:
        yield server


@pytest.fixture
def target(workspace):
    return workspace / "cache/archives/x.zip"


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://huggingface.co/x.zip", "Bearer hf_secret"),
        ("http://huggingface.co/x.zip", None),
        ("https://huggingface.co.example/x.zip", None),
        ("https://example/huggingface.co/x.zip", None),
    ],
)
def test_a_token_goes_to_hugging_face_alone_and_encrypted(workspace, clock, target, monkeypatch, url, sent):
    seen = []

    def send(self, request, **_):
        seen.append(request.headers.get("Authorization"))
        raise requests.ConnectionError

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(HTTPAdapter, "send", send)
    with pytest.raises(UserError, match="no answer from"):
        web.download(url, target, sha256=None)
    assert set(seen) == {sent}


@pytest.mark.parametrize(
    "url", ["https://a..b/x.zip", "https://[abc/x.zip", "https://host:99999/x.zip", "ftp://a/x.zip"]
)
def test_what_is_no_address_is_said_at_once(workspace, clock, target, url):
    with pytest.raises(UserError, match="is no address"):
        web.download(url, target, sha256=None)
    assert not clock.slept


@pytest.mark.parametrize("said", ["9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT"])
def test_a_time_to_wait_that_cannot_be_is_none(said):
    answer = requests.Response()
    answer.headers["Retry-After"] = said
    assert web.retry_after(answer) is None


class Elsewhere(Handler):
    """Sends everybody to another host."""

    def do_GET(self):
        self.server.credentials.append(self.headers.get("Authorization"))
        self.answer(302, Location=f"http://localhost:{self.server.target.server_port}/x.zip")


@pytest.mark.parametrize("user", ["", "someone:pass%40word@"])
def test_a_redirect_takes_no_credentials_along(workspace, archive, target, monkeypatch, user):
    """Neither those of the address, nor what .netrc has for the other host."""
    (workspace / "netrc").write_text("machine localhost login somebody password something\n")
    monkeypatch.setenv("NETRC", str(workspace / "netrc"))
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    with running(Server(Elsewhere)) as first:
        first.target, first.credentials = archive, []
        web.download(first.address.replace("//", f"//{user}") + "/x.zip", target, sha256=None)
    assert first.credentials == ["Basic c29tZW9uZTpwYXNzQHdvcmQ=" if user else None]
    assert archive.credentials == [None]
    assert target.read_bytes() == archive.body


def test_proxies_of_the_environment_are_used(workspace, archive, target, monkeypatch):
    monkeypatch.setenv("http_proxy", archive.address)
    web.download("http://elsewhere.example/x.zip", target, sha256=None)
    assert target.read_bytes() == archive.body
    monkeypatch.setenv("no_proxy", "elsewhere.example")
    with pytest.raises(UserError, match=r"no answer from http://elsewhere\.example/y\.zip"):
        web.download("http://elsewhere.example/y.zip", target.with_name("y.zip"), sha256=None)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"https://someone:secret@host.example/a/x.zip{SIGNED}", "https://host.example/a/x.zip"),
        ("https://secret@host.example:8443/@ann/x.zip", "https://host.example:8443/@ann/x.zip"),
        ("ftp://someone:secret@host.example/x.zip", "ftp://host.example/x.zip"),
        ("https://someone:sec/ret@host.example/x.zip", "an address that cannot be read"),
        ("https://[secret", "an address that cannot be read"),
    ],
)
def test_addresses_are_shown_without_secrets(address, shown):
    assert web.address_for_people(address) == shown


@pytest.mark.parametrize(
    "source",
    [
        "http://someone:secret@host.example/x.zip",
        f"http://host.example/x.zip{SIGNED}",
        f"ftp://someone:secret@host.example/x.zip{SIGNED}",
        "https://someone:secret@host.example/",
        "https://someone:secret@[host/x.zip",
    ],
)
def test_messages_on_a_source_tell_no_secret(workspace, source):
    edit_params(workspace, {"ingest_gopro": {"source": source}})
    with pytest.raises(UserError) as caught:
        stages.ingest_gopro.main()
    assert "secret" not in str(caught.value)


def test_a_damaged_archive_gets_no_name(workspace, archive, target):
    whole, archive.body = archive.body, flipped(archive.body)
    with pytest.raises(UserError, match=r"x\.zip is damaged \(train/.*000047\.png\): thrown away"):
        web.download(f"{archive.address}/x.zip", target, sha256=None)
    assert left(target) == []
    archive.body = whole
    web.download(f"{archive.address}/x.zip", target, sha256=None)
    assert target.read_bytes() == whole


@pytest.mark.parametrize("known", [True, False], ids=["its SHA-256 is known", "unknown"])
def test_content_that_changed_under_the_same_tag_is_fetched_anew(workspace, archive, target, capsys, known):
    archive.breaks = [400_000, (404, {})]
    with pytest.raises(UserError, match="is gone"):
        web.download(f"{archive.address}/x.zip", target, sha256=None)
    before, archive.body = archive.body, zipped(b"b")
    assert len(archive.body) == len(before)
    sha256 = hashlib.sha256(archive.body).hexdigest() if known else None
    web.download(f"{archive.address}/x.zip", target, sha256=sha256)
    assert target.read_bytes() == archive.body
    assert "x.zip.part, which came in several pieces, " in (output := "".join(capsys.readouterr()))
    assert "deleted, and downloaded anew" in output
    assert archive.ranges[-1] is None


def test_a_kill_does_not_marry_a_tag_to_another_content(workspace, archive, target, monkeypatch):
    archive.breaks = [400_000, (404, {})]
    with pytest.raises(UserError, match="is gone"):
        web.download(f"{archive.address}/x.zip", target, sha256=None)
    archive.body, archive.etag = zipped(b"b"), '"two"'

    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(web, "_bar", kill)  # the first thing after the new tag is on the disk
        with pytest.raises(Killed):
            web.download(f"{archive.address}/x.zip", target, sha256=None)
    assert target.with_name("x.zip.etag").read_text() == '"two"'
    web.download(f"{archive.address}/x.zip", target, sha256=None)
    assert target.read_bytes() == archive.body


@pytest.mark.parametrize("known", [True, False], ids=["its SHA-256 is known", "unknown"])
def test_an_archive_that_is_damaged_later_is_fetched_anew(workspace, archive, target, capsys, known):
    sha256 = hashlib.sha256(archive.body).hexdigest() if known else None
    for _ in range(2):
        web.download(f"{archive.address}/x.zip", target, sha256=sha256)
    assert len(archive.ranges) == 1
    target.write_bytes(flipped(archive.body))
    web.download(f"{archive.address}/x.zip", target, sha256=sha256)
    assert target.read_bytes() == archive.body
    assert re.search(r"x\.zip (has the SHA-256|is damaged) .*: deleted, and downloaded anew", capsys.readouterr().out)


def test_what_is_encrypted_is_not_damaged(workspace, archive, target):
    """Whoever unpacks it says what to do."""
    body = bytearray(archive.body)
    body[body.index(b"PK\x01\x02") + 8] |= 1
    archive.body = bytes(body)
    web.download(f"{archive.address}/x.zip", target, sha256=None)
    assert target.exists()


def test_a_dripping_server_holds_nothing_up(workspace, archive, target, clock):
    archive.tick = lambda: clock.turn(3)
    archive.breaks = ["drip"] * 2
    web.download(f"{archive.address}/x.zip", target, sha256=None)
    assert target.read_bytes() == archive.body
    archive.breaks = ["drip"] * 99
    with pytest.raises(UserError, match=r"y\.zip: the connection is too slow \(\d+ bytes in \d+ seconds\) 5 times"):
        web.download(f"{archive.address}/y.zip", target.with_name("y.zip"), sha256=None)


def test_a_server_that_drips_its_headers_holds_nothing_up(workspace, archive, target, monkeypatch):
    monkeypatch.setattr(web, "ANSWER", 0.1, raising=False)
    archive.breaks = ["drip a header"] * 99
    with pytest.raises(UserError, match=r"no answer from .*x\.zip \(TimeoutError\), 5 times"):
        web.download(f"{archive.address}/x.zip", target, sha256=None)
    archive.slow.set()


@pytest.mark.parametrize(("fault", "slept"), [((429, {"Retry_After": "90"}), 90), ((503, {}), 1), ((408, {}), 1)])
def test_an_archive_is_asked_for_again_as_http_means_it(workspace, archive, target, clock, fault, slept):
    archive.breaks = [fault]
    web.download(f"{archive.address}/x.zip", target, sha256=None)
    assert target.read_bytes() == archive.body
    assert clock.slept == [pytest.approx(slept, abs=1)]


@pytest.mark.parametrize("status", [403, 410, 451])
def test_an_archive_that_is_refused_is_one_line(workspace, archive, target, status):
    archive.breaks = [(status, {})] * 9
    with pytest.raises(UserError, match=rf"x\.zip is (gone|refused) .{status}.: check ingest_gopro\.source"):
        web.download(f"{archive.address}/x.zip", target, sha256=None)


class FullDisk(io.FileIO):
    def write(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_is_named_and_what_arrived_is_kept(workspace, archive, target, monkeypatch):
    archive.breaks = [400_000, (404, {})]
    with pytest.raises(UserError, match="is gone"):
        web.download(f"{archive.address}/x.zip", target, sha256=None)
    with monkeypatch.context() as patch:
        patch.setattr(web, "open", lambda path, mode: FullDisk(path, mode), raising=False)
        with pytest.raises(UserError, match=r"no space left for .*x\.zip\.part: free some, or set DEBLURGAN_CACHE"):
            web.download(f"{archive.address}/x.zip", target, sha256=None)
    web.download(f"{archive.address}/x.zip", target, sha256=None)
    assert target.read_bytes() == archive.body
    assert all(archive.ranges[-2:]), "what had arrived was not used"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device: {here}: free some space there"),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded", "a/b.png"),
            "Disk quota exceeded: a/b.png: free some space there",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "a/b.png"), "Permission denied: a/b.png"),
    ],
)
def test_what_the_system_refuses_has_a_place(workspace, error, said):
    with pytest.raises(SystemExit) as caught, reported("clean"):
        raise error
    assert str(caught.value).startswith(f"clean: error: {said.format(here=workspace)}")


def test_an_interrupt_of_the_start_is_one_line(workspace):
    """Importing the libraries takes seconds, before any code of a stage runs."""
    (workspace / "numpy.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(workspace), str(ROOT)])}
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.clean"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listens_to_interrupts,
    )
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode != 0
    assert errors == "interrupted while starting; nothing was changed, run it again\n"


@pytest.fixture
def kaggle_files(workspace, monkeypatch, clock):
    """Kaggle with one data set, whose archive a file server has."""
    kaggle_env = pytest.importorskip("kagglesdk.kaggle_env")
    monkeypatch.setattr(kaggle, "time", clock)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(workspace / "kaggle"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(workspace / "no credentials"))
    names, _ = LAYOUTS["flattened, without split"]
    body = pack(workspace / "made.zip", names, compression=zipfile.ZIP_STORED).read_bytes()
    with running(FileServer(body)) as files, running(Server(KaggleHandler)) as api:
        api.files, api.asked = files, []
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, api.address)
        files.names = names
        yield files


HANDLE = "someone/some-pairs/versions/3"


def test_a_damaged_archive_of_kaggle_is_fetched_anew(workspace, kaggle_files, capsys):
    whole = kaggle_files.body
    image = png(kaggle_files.names[0])
    at = whole.index(image) + len(image) // 2
    kaggle_files.body = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    with pytest.raises(UserError, match=r"archive of someone/some-pairs/versions/3 is damaged, twice \(Bad CRC"):
        kaggle.fetch(HANDLE)
    assert not list((workspace / "kaggle").rglob("*.archive"))
    kaggle_files.body = whole
    assert sorted(contents(kaggle.fetch(HANDLE))) == sorted(kaggle_files.names)
    assert re.search(r"\.archive is damaged \(.*\): deleted, and downloaded anew", "".join(capsys.readouterr()))


def test_a_busy_kaggle_is_waited_for(workspace, kaggle_files, clock):
    kaggle_files.breaks = [(429, {"Retry_After": "45"}), (503, {})]
    kaggle.fetch(HANDLE)
    assert clock.slept == [pytest.approx(45, abs=1), 2]
