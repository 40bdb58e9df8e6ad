"""The page's endpoint, asked by strangers: hostile files, names, addresses and connections."""

import io
import os
import re
import secrets
import socket
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
import requests
from conftest import contents
from PIL import Image
from test_deblur import hostile_files

pytest.importorskip("gradio", reason="the page needs requirements-app.txt")

from app_server import Client, Page, served

pytestmark = pytest.mark.xdist_group("page")
FILES = 200
NAMES = (
    "../../../../etc/cron.d/evil.png", "..", ".", "/etc/passwd", "..\\..\\evil.png", "a\0b.png",
    "a\r\nSet-Cookie: x.png",
    "-rf.png", "--output=evil.png",
    "<img src=x onerror=alert(1)>.png", "'; rm -rf ~;'.png", f"{'a' * 300}.png",
    "%2e%2e%2fevil.png", "CON.png", "\u0646\u0635.png", "\U0001f4f7.png", ".hidden.png", "noend", "two.png.exe",
    " .png",
    "~/.bashrc",
)  # fmt: skip
"""What files are called by those who mean harm, or who write other scripts."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "secret.png").write_bytes(valid("PNG"))
    return folder


@pytest.fixture(scope="module")
def page(workplace, tmp_path_factory):
    home = tmp_path_factory.mktemp("page")
    with served(workplace, home, "--largest", "30") as found:
        yield found
    assert not list((home / "tmp").iterdir()), "the page left files"
    assert not found.reached_out


def valid(kind: str, seed: int = 0) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def mutated(seed: int) -> bytes:
    """A photo of which some bytes are others, gone, or twice there."""
    rng = np.random.default_rng(seed)
    photo = bytearray(valid(("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "AVIF")[seed % 7], seed))
    for _ in range(rng.integers(1, 20)):
        at = int(rng.integers(len(photo)))
        match rng.integers(4):
            case 0:
                photo[at] = int(rng.integers(256))
            case 1:
                del photo[at : at + int(rng.integers(1, 400))]
            case 2:
                photo[at:at] = photo[at : at + int(rng.integers(1, 100))]
            case _:
                photo[at : at + 4] = rng.bytes(4)
        if len(photo) < 8:
            break
    return bytes(photo)


def large_png(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel, all black, in a few kilobytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((1, 0, 0, 0, 0))
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * height, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def memory(page: Page) -> dict[str, int]:
    """Bytes that the page, and its worker, hold."""
    parent = psutil.Process(page.process.pid)
    children = parent.children(recursive=True)
    return {"page": parent.memory_info().rss, "worker": sum(child.memory_info().rss for child in children)}


def rows(shown: dict) -> list[tuple[str, str]]:
    """The table of a batch: names, and what became of each."""
    found = re.findall(r"<tr><td>(.*?)</td><td[^>]*>(.*?)</td>", shown["outcomes"], flags=re.DOTALL)
    return [(name, said) for name, said in found]


@pytest.mark.long
def test_hostile_files_are_named_with_reasons_and_memory_comes_back(page, workplace, tmp_path):
    client = Client(page)
    before = contents(workplace)
    good = client.upload([("good.png", valid("PNG"))]).json()
    assert rows(client.run(good))[0][1].startswith("64×48")
    held = memory(page)
    hostile_files(tmp_path / "in")
    files = [(path.name, path.read_bytes()) for path in sorted((tmp_path / "in").iterdir())]
    files += [("large.png", large_png(20000, 10000))]
    files += [(f"{seed}.png", mutated(seed)) for seed in range(FILES - len(files))]
    assert len(files) == FILES
    sent = client.upload(files)
    assert sent.status_code == 200, sent.text
    paths = sent.json()
    assert all(Path(path).resolve().is_relative_to(page.root) for path in paths)
    shown = client.run(paths)
    found = rows(shown)
    assert len(found) == FILES
    assert all(re.match(r"\d+×\d+, ", said) or len(said) > 5 for _, said in found), found
    said = dict(found)
    assert re.match(r"20000x10000 pixels need \d", said["large.png"])
    assert page.process.poll() is None
    assert contents(workplace) == before
    assert {path.name for path in page.temporary.iterdir()} == {page.root.name}
    assert rows(client.run(good))[0][1].startswith("64×48")
    now = memory(page)
    assert now["page"] < held["page"] + 150e6
    assert now["worker"] < held["worker"] + 300e6


def test_names_lead_nowhere(page, workplace):
    client = Client(page)
    before, paths = contents(workplace), []
    for name in NAMES:
        sent = client.upload([(name, valid("PNG"))])
        assert sent.status_code in (200, 400), (name, sent.text)
        paths += sent.json() if sent.status_code == 200 else []
    assert len(paths) > len(NAMES) / 2
    assert all(Path(path).resolve().is_relative_to(page.root) for path in paths)
    shown = client.run(paths)
    assert len(rows(shown)) == len(paths)
    assert not [said for _, said in rows(shown) if not said.startswith("64×48")], rows(shown)
    assert "<img" not in shown["outcomes"]
    assert contents(workplace) == before
    assert {path.name for path in page.temporary.iterdir()} == {page.root.name}


def test_files_that_were_not_uploaded_are_not_read(page, workplace):
    client = Client(page)
    for path in (
        workplace / "secret.png", "/etc/passwd", "/proc/self/environ", "http://127.0.0.1:1/x.png",
        "https://example.org/x.png", "file:///etc/passwd", f"{page.root}/../../secret.png", "secret.png", "", "\0",
    ):  # fmt: skip
        assert "error" in client.run([str(path)]), path
    for path in ("/etc/passwd", f"{workplace}/secret.png", f"{page.root}/../secret", "http://example.org/"):
        answer = client.http.get(f"{page.address}/gradio_api/file={path}", timeout=60)
        assert answer.status_code in (400, 403, 404), path
    assert client.run([])["status"].startswith("<p role='alert'>")


def test_values_that_no_page_sends_are_refused(page):
    client = Client(page)
    (path,) = client.upload([("a.png", valid("PNG"))]).json()
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for values in (
        [[file], "/etc/passwd", 1, False, False],
        [[file], "--output=/", 1, False, False],
        [[file], "Unsharp masking", 7, False, False],
        [[file], "Unsharp masking", "1; rm", False, False],
        [[file], {"path": "http://example.org", "meta": {"_type": "gradio.FileData"}}, 1, False, False],
        ["x"],
        [],
    ):
        shown = client.call("run", values)
        assert "error" in shown or "alert" in shown["status"], values
    assert client.call("show", [10**9]).get("slider", {}) is not None
    for name in ("compare", "draw", "show_panel"):
        client.call(name, ["--help", "HEAD; rm", "../../x", "../../y"][: 3 if name != "compare" else 4])
    assert page.process.poll() is None


def test_a_file_that_is_too_large_is_refused(page):
    answer = Client(page).upload([("big.png", secrets.token_bytes(31_000_000))])
    assert answer.status_code == 413
    assert "maximum allowed size" in answer.text
    assert not [path for path in page.root.rglob("*") if path.is_file() and path.stat().st_size > 30_000_000]


def test_an_upload_that_is_cut_off_does_no_harm(page):
    host, port = urlsplit(page.address).hostname, urlsplit(page.address).port
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 5000000\r\n"
        'Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disposition: form-data; name="files"; '
        'filename="cut.png"\r\n\r\n'
    )
    for _ in range(10):
        with socket.create_connection((host, port)) as connection:
            connection.sendall(head.encode() + secrets.token_bytes(200_000))
    time.sleep(1)
    descriptors = psutil.Process(page.process.pid).num_fds()
    assert descriptors < 200
    client = Client(page)
    (path,) = client.upload([("whole.png", valid("PNG"))]).json()
    assert rows(client.run([path]))[0][1].startswith("64×48")
    left = [path for path in page.root.glob("tmp*") if path.is_file() and path.stat().st_size > 100_000]
    assert not left, "half an upload stays"


def test_a_site_with_a_name_for_this_machine_gets_nothing(page):
    port = urlsplit(page.address).port
    for host in ("evil.example", f"evil.example:{port}"):
        answer = requests.get(f"{page.address}/config", headers={"Host": host}, timeout=60)
        assert answer.status_code == 421
    answer = requests.get(f"{page.address}/config", headers={"Origin": "https://evil.example"}, timeout=60)
    assert answer.status_code == 403
    assert answer.headers.get("access-control-allow-origin") != "https://evil.example"


@pytest.mark.long
def test_a_password_guards_everything(workplace, tmp_path):
    arguments = ["--auth", "ann:a secret", "--address", "https://photos.example.org/deblur"]
    with served(workplace, tmp_path / "home", *arguments) as page:
        assert page.address == "https://photos.example.org/deblur"
        port = next(
            found.laddr.port
            for found in psutil.Process(page.process.pid).net_connections("tcp")
            if found.status == psutil.CONN_LISTEN
        )
        local = f"http://127.0.0.1:{port}"
        http = requests.Session()
        http.headers["Host"] = "photos.example.org"
        files = [("files", ("a.png", valid("PNG")))]
        assert http.post(f"{local}/gradio_api/upload", files=files, timeout=60).status_code == 401
        join = {"data": [], "fn_index": 0, "session_hash": "x"}
        assert http.post(f"{local}/gradio_api/queue/join", json=join, timeout=60).status_code == 401
        assert http.get(f"{local}/gradio_api/file=/etc/passwd", timeout=60).status_code == 401
        wrong = {"username": "ann", "password": "secret"}
        assert http.post(f"{local}/login", data=wrong, timeout=60).status_code == 400
        right = {"username": "ann", "password": "a secret"}
        assert http.post(f"{local}/login", data=right, timeout=60).status_code == 200
        cookies = {cookie.name: cookie.value for cookie in http.cookies}
        sent = requests.post(f"{local}/gradio_api/upload", files=files, cookies=cookies, timeout=60)
        assert sent.status_code == 200
        assert os.path.commonpath([sent.json()[0], page.root]) == str(page.root)
