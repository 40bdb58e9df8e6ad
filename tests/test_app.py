"""What the page is made of, without a browser: options, folders, guards, batches, the process that restores."""

import asyncio
import io
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from skimage import data

from deblurgan.app import choices as offered
from deblurgan.app import server, trainings, words
from deblurgan.app.batch import Batch, distinct
from deblurgan.app.command import AUTH, read_settings
from deblurgan.app.folders import HALF, Folders, temporary
from deblurgan.app.guards import HEADERS, Guards, host_of
from deblurgan.app.process import Process
from deblurgan.app.server import hosts_of
from deblurgan.app.worker import Bench, Failed, Looked, Order, Ready, Restored, Tiles
from deblurgan.errors import UserError
from deblurgan.restoration import command
from deblurgan.restoration.classical import algorithm
from deblurgan.restoration.exported import ExportedGenerator
from deblurgan.restoration.restorer import Restorer


def png(path: Path, side: int = 40) -> Path:
    rng = np.random.default_rng(side)
    Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    return path


# command line


def test_the_page_is_for_this_machine_alone_by_default(monkeypatch):
    monkeypatch.delenv(AUTH, raising=False)
    found = read_settings([])
    assert (found.host, found.auth, found.largest) == ("127.0.0.1", (), 200_000_000)
    assert hosts_of(found) == {"127.0.0.1", "localhost", "::1"}


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "photos.example.org"])
def test_the_network_needs_a_password(host, monkeypatch):
    monkeypatch.delenv(AUTH, raising=False)
    with pytest.raises(UserError, match="add --auth user:password"):
        read_settings(["--host", host])
    assert read_settings(["--host", host, "--auth", "none"]).auth == ()
    assert read_settings(["--host", host, "--auth", "ann:a:b", "--auth", "bob:c"]).auth == (
        ("ann", "a:b"),
        ("bob", "c"),
    )
    monkeypatch.setenv(AUTH, "eve:secret\n")
    assert read_settings(["--host", host]).auth == (("eve", "secret"),)
    monkeypatch.setenv(AUTH, "none")
    assert read_settings(["--host", host]).auth == ()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--auth", "ann"],
        ["--auth", "ann:"],
        ["--auth", ":x"],
        ["--address", "example.org"],
        ["--address", "https://[::1"],
        ["--address", "https://photos.example.org"],
        ["--port", "70000"],
        ["--auth", ""],
        ["--auth", "", "--auth", "none", "--host", "0.0.0.0"],
    ],
)
def test_options_that_make_no_sense_are_one_line(arguments, monkeypatch):
    monkeypatch.delenv(AUTH, raising=False)
    with pytest.raises(UserError) as error:
        read_settings(arguments)
    assert "\n" not in str(error.value)


def test_a_reverse_proxy_names_its_host():
    found = read_settings(["--address", "https://photos.example.org/deblur/", "--auth", "none"])
    assert found.address == "https://photos.example.org/deblur"
    assert "photos.example.org" in hosts_of(found)


def test_every_address_of_this_machine_is_guarded_against_other_names():
    assert hosts_of(read_settings(["--host", "127.0.0.2"])) == {"127.0.0.1", "127.0.0.2", "localhost", "::1"}


def test_a_name_that_no_host_can_have_is_one_line():
    with pytest.raises(UserError, match=r"--host \.x cannot be listened on"):
        server.check_address(".x", None)


def test_an_address_that_is_taken_or_elsewhere_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is taken: choose another port with --port"):
            server.check_address("127.0.0.1", port)
    server.check_address("127.0.0.1", port)
    server.check_address("127.0.0.1", None)
    for host in ("203.0.113.7", "no such host"):
        with pytest.raises(UserError, match=f"--host {host} cannot be listened on: "):
            server.check_address(host, None)


def test_photos_of_one_upload_may_all_be_open():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        server.allow_open_files(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, hard)
        server.allow_open_files(200)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, hard)
        server.allow_open_files(2**40)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_gradio_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr(server.signal, "signal", lambda *_: None)
    for name in ("NO_PROXY", "no_proxy", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")  # which the page sets, and pytest sets back
    with pytest.raises(UserError, match="run `make app`"):
        server.run(read_settings([]))
    assert not list(tmp_path.iterdir())


# choices


def test_models_are_found_and_say_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with zipfile.ZipFile(tmp_path / "models/fetched.keras", "w") as archive:
        archive.writestr("provenance.json", '{"source": "https://example.org", "licence": "MIT"}')
    for name in ("small.onnx", "broken.keras", "notes.txt"):
        (tmp_path / "models" / name).write_text("not an archive")
    found = offered.choices()
    assert [name for name in found if name.startswith("models/")] == [
        "models/broken.keras", "models/fetched.keras", "models/small.onnx",
    ]  # fmt: skip
    assert "MIT" in found["models/fetched.keras"].about
    assert found["models/small.onnx"].arguments == ("--model", "models/small.onnx")
    assert next(iter(found.values())).arguments == ()  # the command's own default comes first
    (_, pretrained) = found["pretrained/generator.onnx"].arguments  # for which no TensorFlow is loaded
    assert ExportedGenerator(Path(pretrained)).traits.stride == 8
    assert [choice.arguments[1] for choice in found.values() if not choice.neural] == list(offered.WAYS[1:])


# folders


def test_sessions_are_kept_apart_and_dropped(tmp_path):
    folders = Folders(tmp_path)
    one, two = folders.new("one"), folders.new("two")
    (one / "a").write_text("1")
    folders.drop("one")
    assert not one.exists()
    assert two.exists()
    folders.drop("unknown")


def test_what_nobody_touches_is_swept(tmp_path):
    folders = Folders(tmp_path, kept=100)
    old, fresh, examples = (tmp_path / name for name in ("old", "fresh", "examples"))
    for folder in (old, fresh, examples):
        folder.mkdir()
        (folder / "a").write_text("1")
    (tmp_path / "cut").write_text("half an upload")
    past = time.time() - 200
    for path in (old / "a", old, fresh, examples / "a", examples, tmp_path / "cut"):
        os.utime(path, (past, past))
    folders.sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["examples", "fresh"]


def test_what_an_upload_has_brought_stays_until_all_is_there(tmp_path, monkeypatch):
    folders = Folders(tmp_path)
    with folders.upload() as came:
        (tmp_path / "first").write_bytes(b"1")
        (tmp_path / "older").write_bytes(b"1")
        os.utime(tmp_path / "older", (1, 1))
        ((began, _),) = folders.coming.values()
        with monkeypatch.context() as later:
            later.setattr("time.time", lambda: began + 10 * HALF)
            came()
            folders.sweep()
            assert [path.name for path in tmp_path.iterdir()] == ["first"]
            later.setattr("time.time", lambda: began + 20 * HALF)  # nothing comes any more
            folders.sweep()
            assert not list(tmp_path.iterdir())
    assert not folders.coming


def test_what_a_batch_waits_for_stays(tmp_path):
    folders = Folders(tmp_path, kept=100)
    for name in ("waits", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"1")
    for path in tmp_path.rglob("*"):
        os.utime(path, (1, 1))
    folders.hold("one", [tmp_path / "waits" / "a.png"])
    folders.sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["waits"]
    folders.release("one")
    folders.sweep()
    assert not list(tmp_path.iterdir())


def test_the_folder_is_gone_with_the_page_and_killed_pages_leave_none(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "deblurgan-app-left"
    (left / "run-1").mkdir(parents=True)
    os.utime(left, (1, 1))
    other = tmp_path / "somebody's"
    other.mkdir()
    with temporary() as first:
        assert not left.exists()
        os.utime(first.root, (1, 1))  # old, and alive
        with temporary() as second:
            assert first.root.exists()
            assert first.root != second.root
    assert list(tmp_path.iterdir()) == [other]


# guards


def ask(guards: Guards, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, dict[bytes, bytes]]:
    """Send a request past the guards; status and headers of the answer."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "path": path, "method": method,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    asyncio.run(guards(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def guards(tmp_path) -> Guards:
    return Guards(
        page, Folders(tmp_path), frozenset({"127.0.0.1", "localhost", "::1"}), "photos.example.org", room=1000
    )


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:7860", 200), ("evil.example", 421),
        ("127.0.0.1.evil.example", 421), ("", 421), ("evil.example:7860", 421),
    ],
)  # fmt: skip
def test_a_foreign_name_for_this_machine_is_refused(guards, host, status):
    assert ask(guards, host=host)[0] == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:7860", 200), ("https://photos.example.org", 200), ("https://evil.example", 403),
        ("https://localhost.evil.example", 403), ("https://evil.example?localhost", 403), ("null", 403), ("", 403),
    ],
)  # fmt: skip
def test_another_site_may_not_use_the_page_by_its_visitors_browser(guards, origin, status):
    for method in ("GET", "OPTIONS"):
        assert ask(guards, method=method, host="localhost:7860", origin=origin)[0] == status


def test_what_has_come_of_an_upload_is_not_reserved_any_more(tmp_path):
    """It lies in the folder, and counts there; several names of one file count once."""
    pytest.importorskip("starlette", reason="comes with Gradio")
    folders, reserved = Folders(tmp_path), []

    async def reading(scope, receive, send):
        for _ in range(3):
            await receive()
            reserved.append(guards.coming)
        await page(scope, receive, send)

    async def receive():
        return {"type": "http.request", "body": bytes(100), "more_body": True}

    guards = Guards(reading, folders, frozenset(), None, room=1000)
    scope = {"type": "http", "path": "/gradio_api/upload", "method": "POST", "headers": [(b"content-length", b"250")]}
    asyncio.run(guards(scope, receive, lambda _: asyncio.sleep(0)))
    assert reserved == [150, 50, 0]
    assert guards.coming == 0
    (tmp_path / "photo").write_bytes(bytes(1000))
    before = folders.size()
    os.link(tmp_path / "photo", tmp_path / "the same")
    assert folders.size() == before


def test_results_stay_as_long_as_the_tab_is_open(tmp_path):
    folders = Folders(tmp_path, kept=100)
    folder = folders.new("one")
    (folder / "a.png").write_bytes(b"1")
    for path in (folder / "a.png", folder):
        os.utime(path, (1, 1))
    folders.hold("one", [folder])
    folders.release("one")
    folders.sweep()
    assert (folder / "a.png").exists()
    folders.drop("one")
    assert not folder.exists()


def test_answers_forbid_the_browser_to_fetch_from_elsewhere(guards):
    _, headers = ask(guards, host="localhost")
    assert headers == {name.encode(): value.encode() for name, value in HEADERS.items()}
    assert b"https:" not in headers[b"content-security-policy"]


def test_uploads_have_a_limit_and_a_length(guards, tmp_path):
    pytest.importorskip("starlette", reason="comes with Gradio")

    def upload(length: str | None, path: str = "/gradio_api/upload") -> int:
        more = {} if length is None else {"content_length": length}
        return ask(guards, path, "POST", host="localhost", **more)[0]

    assert upload("1000") == 200
    assert upload("1001") == 413
    assert upload(None) == 411
    assert upload("-1") == 411
    assert upload("1000", "/gradio_api/queue/join") == 200
    assert upload("2000000", "/gradio_api/queue/join") == 413
    (tmp_path / "result").write_bytes(bytes(600))
    assert upload("401") == 507
    assert upload("400") == 200
    assert guards.coming == 0


def test_the_web_is_not_read_for_others(guards):
    assert ask(guards, "/gradio_api/file=http://example.org/", host="localhost")[0] == 404
    assert ask(guards, "/gradio_api/proxy=http://example.org/", host="localhost")[0] == 404


@given(st.text())
def test_any_host_is_read(text):
    assert host_of(text) == host_of(text.upper()) or not text.isascii()


# batches


class Scripted:
    """A process that answers as it is told, photo by photo."""

    def __init__(self, *answers: list) -> None:
        self.answers = iter(answers)

    def restore(self, order: Order, cancelled: threading.Event):
        assert order.source.read_bytes()
        for message in next(self.answers):
            if isinstance(message, Restored):
                result = order.folder / order.source.name
                result.write_bytes(order.source.read_bytes())
                message = Restored(result, result, result, (1, 1), 0.1, ())
            yield message


DONE = Restored(Path(), Path(), Path(), (1, 1), 0.1, ())


def batch_of(folder: Path, *sizes: int) -> Batch:
    uploads = []
    for number, size in enumerate(sizes):
        path = folder / str(number) / "photo.jpg"
        path.parent.mkdir()
        path.write_bytes(bytes([number]) * size)
        uploads.append(path)
    (folder / "run").mkdir()
    return Batch(uploads, folder / "run", (), threading.Event())


def test_a_batch_counts_by_the_sizes_of_files(tmp_path):
    batch = batch_of(tmp_path, 300, 100)
    seen = []
    for _ in batch.run(Scripted([Ready(), Tiles(0, 3), Tiles(1, 3), DONE], [Ready(), Failed("broken <b>")])):
        seen.append(batch.fraction)
    assert seen == pytest.approx([0, 0, 0, 0.25, 0.75, 0.75, 0.75, 1.0])
    assert batch.left == pytest.approx(0)
    assert [type(item.outcome) for item in batch.items] == [Restored, Failed]
    assert "1 of 2 deblurred, 1 cannot be" in words.status(batch)
    assert "broken &lt;b&gt;" in words.outcomes(batch)
    assert not list((tmp_path / "run").rglob("source/*"))


def test_a_batch_does_not_need_its_uploads_any_more(tmp_path):
    batch = batch_of(tmp_path, 3, 5)
    for number in range(2):
        shutil.rmtree(tmp_path / str(number))
    for _ in batch.run(Scripted([DONE], [DONE])):
        pass
    assert len(batch.restored) == 2


def test_a_batch_counts_the_search_for_a_blur(tmp_path):
    batch = batch_of(tmp_path, 100)
    seen = []
    for _ in batch.run(Scripted([Ready(), Looked(0.5), Looked(1.0), Tiles(0, 2), Tiles(1, 2), DONE])):
        seen.append((batch.fraction, "looking for the blur" in words.status(batch)))
    assert seen == [
        (0, False), (0, False), (0.25, True), (0.5, True), (0.5, False), (0.75, False), (1.0, False),
    ]  # fmt: skip


def test_photos_of_one_name_have_a_place_each_also_in_the_zip(tmp_path):
    batch = batch_of(tmp_path, 3, 5, 7)
    for _ in batch.run(Scripted(*[[DONE]] * 3)):
        pass
    with zipfile.ZipFile(batch.write_zip()) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {"photo.jpg": b"\0" * 3, "photo (2).jpg": b"\1" * 5, "photo (3).jpg": b"\2" * 7}


@given(st.lists(st.sampled_from(["a.jpg", "a (2).jpg", "b", "b (2)"])))
def test_distinct_names_are_distinct(names):
    assert len(set(distinct(names))) == len(names)


def test_a_cancelled_batch_keeps_what_is_done(tmp_path):
    batch = batch_of(tmp_path, 1, 1, 1)
    for item in batch.run(Scripted([DONE], [Ready(), Failed("cancelled")])):
        if item is not None:
            batch.cancelled.set()
    assert batch.finished == 1
    assert words.status(batch).count("Cancelled")
    assert words.outcomes(batch).count("not done") == 2


# the tabs, without a browser


@pytest.fixture
def tab(tmp_path):
    """The tab for photos, and a request that comes from its browser."""
    gradio = pytest.importorskip("gradio", reason="the page needs requirements-app.txt")
    from deblurgan.app.page import PhotosTab

    with gradio.Blocks():
        tab = PhotosTab(Folders(tmp_path), None, 2.5, [])
    return tab, SimpleNamespace(session_hash="one")


def shown(tab, uploads: list[Path], request) -> list[dict]:
    """What a batch shows, one after another, by the names of what it is shown in."""
    asked = tab.run([str(path) for path in uploads], "Unsharp masking", 1, False, False, request)
    return [{view.elem_id: value for view, value in change.items()} for change in asked]


def test_photos_that_are_gone_are_said_and_the_next_can_start(tab, tmp_path):
    photos, request = tab
    photos.process = Scripted([DONE])
    (last,) = shown(photos, [tmp_path / "gone.png"], request)
    assert "gone.png is no longer here: choose the photos again" in last["status"]
    assert last["start"]["interactive"]
    assert not last["stop"]["interactive"]
    (tmp_path / "one").mkdir()
    last = shown(photos, [png(tmp_path / "one" / "here.png")], request)[-1]
    assert "1 of 1 deblurred" in last["status"]
    assert not photos.folders.held


def test_a_fault_of_the_page_leaves_the_button(tab, tmp_path):
    photos, request = tab
    photos.process = Scripted()  # no answer for the photo
    seen = []
    with pytest.raises(RuntimeError):
        for change in photos.run([str(png(tmp_path / "a.png"))], "Unsharp masking", 1, False, False, request):
            seen.append({view.elem_id: value for view, value in change.items()})
    assert "alert" in seen[-1]["status"]
    assert seen[-1]["start"]["interactive"]


def test_photos_are_held_while_their_batch_waits(tab, tmp_path):
    photos, request = tab
    upload = tmp_path / "hash" / "a.png"
    photos.hold([str(upload)], request)
    assert photos.folders.held == {"one": {upload}}
    photos.leave(request)
    assert not photos.folders.held
    photos.hold(None, request)


def test_trainings_where_there_is_no_repository(tmp_path, monkeypatch):
    gradio = pytest.importorskip("gradio", reason="the page needs requirements-app.txt")
    from deblurgan.app.trainings_tab import TrainingsTab

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with gradio.Blocks():
        tab = TrainingsTab(Folders(tmp_path))
    said, *_ = tab.open("Gain in PSNR, dB")
    assert "no commits to compare" in said


def test_subjects_and_signatures_of_commits_may_be_anything(tmp_path, monkeypatch):
    for name, value in {"user.name": "a", "user.email": "b", "log.showSignature": "true"}.items():
        monkeypatch.chdir(tmp_path)
        subprocess.run(["git", "init", "-q"], check=True)
        subprocess.run(["git", "config", name, value], check=True)
    subject = "one\u2028two\x0bthree"
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", subject], check=True)
    ((rev, name, _, found),) = trainings._commits("HEAD")
    assert rev.startswith(name)
    assert found == subject


# the process that restores


@pytest.fixture(scope="module")
def process():
    found = Process()
    yield found
    found.end()


def last(process: Process, order: Order, cancelled: threading.Event | None = None):
    return [message for message in process.restore(order, cancelled or threading.Event()) if message][-1]


UNSHARP = ("--algorithm", "unsharp")


def test_a_worker_that_dies_is_a_reason_and_the_next_photo_is_done(process, tmp_path):
    order = Order(png(tmp_path / "a.png"), tmp_path / "out", UNSHARP)
    order.folder.mkdir()
    assert isinstance(last(process, order), Restored)
    first = process.child.pid
    for message in process.restore(order, threading.Event()):
        if isinstance(message, Ready):
            os.kill(process.child.pid, signal.SIGKILL)
    assert isinstance(message, Failed)
    assert "killed" in message.reason
    assert isinstance(last(process, order), Restored)
    assert process.child.pid != first


def heard_until_cancelled(process: Process, order: Order, kind: type) -> int:
    """Cancel a photo at its first message of a kind: how many of them come until it has stopped."""
    cancelled, heard = threading.Event(), 0
    for message in process.restore(order, cancelled):
        if isinstance(message, kind):
            heard += 1
            cancelled.set()
    assert message == Failed("cancelled")
    return heard


def test_a_photo_that_is_cancelled_stops_between_tiles(process, tmp_path):
    order = Order(png(tmp_path / "large.png", 3000), tmp_path / "out", ("--algorithm", "richardson-lucy"))
    order.folder.mkdir()
    assert heard_until_cancelled(process, order, Tiles) < 9
    assert not (order.folder / "large.png").exists()


def test_the_search_for_a_blur_is_told_and_can_be_cancelled(process, tmp_path):
    photo = tmp_path / "coffee.png"
    Image.fromarray(ndimage.uniform_filter(data.coffee()[:256, :256], (9, 9, 1))).save(photo)
    order = Order(photo, tmp_path / "out", ("--algorithm", "blind", "--kernel-size", "9"))
    order.folder.mkdir()
    shares = [message.share for message in process.restore(order, threading.Event()) if isinstance(message, Looked)]
    assert shares == sorted(shares)
    assert shares[0] < 0.5 < shares[-1] <= 1
    assert heard_until_cancelled(process, order, Looked) < len(shares)


def test_an_idle_worker_ends(tmp_path):
    process = Process(idle=0.2)
    order = Order(png(tmp_path / "a.png"), tmp_path / "out", UNSHARP)
    order.folder.mkdir()
    assert isinstance(last(process, order), Restored)
    limit = time.monotonic() + 30
    while process.child and time.monotonic() < limit:
        time.sleep(0.05)
    assert process.child is None
    assert isinstance(last(process, order), Restored)
    process.end()


def test_who_stops_listening_ends_the_photo(process, tmp_path):
    order = Order(png(tmp_path / "a.png"), tmp_path / "out", UNSHARP)
    order.folder.mkdir()
    messages = process.restore(order, threading.Event())
    next(messages)
    messages.close()
    assert not process.busy.locked()
    assert isinstance(last(process, order), Restored)


def test_notes_of_the_command_stand_beside_the_photo(process, tmp_path):
    path = tmp_path / "a name with spaces.png"
    Image.fromarray(data.coffee()).save(path)
    order = Order(path, tmp_path / "out", (*UNSHARP, "--skip-sharp"))
    order.folder.mkdir()
    found = last(process, order)
    assert found.notes == ("does not look blurred: left as it is",)
    assert found.result.read_bytes() == path.read_bytes()


def test_a_model_is_loaded_once_and_again_when_its_file_is_made_anew(tmp_path, monkeypatch):
    model, loaded = tmp_path / "m.keras", []
    model.write_text("first")

    def restorer_of(options):
        loaded.append(options.model.read_text())
        return Restorer(algorithm("unsharp", in_light=True))

    monkeypatch.setattr(command, "restorer_of", restorer_of)
    here, _ = Pipe()
    bench, photo = Bench(here), png(tmp_path / "a.png")

    def restored(strength: str) -> bytes:
        order = Order(photo, tmp_path / "out", ("--model", str(model), "--strength", strength))
        return bench.restore(order).result.read_bytes()

    (tmp_path / "out").mkdir()
    assert restored("1") != restored("0.5") != restored("0")
    assert loaded == ["first"]
    model.write_text("the second")
    restored("1")
    assert loaded == ["first", "the second"]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "I;16", "P", "CMYK"])
def test_previews_are_what_browsers_show(tmp_path, mode):
    from deblurgan.app.previews import write_previews

    if mode == "I;16":
        image = Image.fromarray(np.full((20, 30), 65535, np.uint16))
    else:
        image = Image.new("RGBA", (30, 20), (200, 100, 50, 128)).convert("RGB" if mode == "CMYK" else "RGBA")
        image = image.convert("RGB").convert(mode) if mode in ("P", "CMYK") else image.convert(mode)
    path = tmp_path / "photo.tif"
    image.save(path)
    results = {tmp_path / f"{name}.{kind}": b"a result" for name in ("before", "after") for kind in ("jpg", "png")}
    for result, content in results.items():
        result.write_bytes(content)
    before, after, size = write_previews(path, path, tmp_path)
    assert {result: result.read_bytes() for result in results} == results  # a photo may have such a name
    assert size == (30, 20)
    for preview in (before, after):
        shown = Image.open(io.BytesIO(preview.read_bytes()))
        assert shown.format == ("PNG" if mode in ("RGBA", "LA") else "JPEG")
        assert shown.size == (30, 20)
        assert shown.mode in ("L", "RGB", "RGBA")
