"""The page in a real browser: Chromium, which reaches this machine alone.

DEBLURGAN_TEST_SCREENSHOTS names a folder that takes the pictures of docs/app.md.
"""

import asyncio
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from skimage import data

pytest.importorskip("gradio", reason="the page needs requirements-app.txt")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")

from app_server import Page, served  # noqa: E402

from deblurgan.blur.convolution import blur_image  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.xdist_group("page"),
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium: apt-get install chromium"),
]
CUT = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
"""The browser resolves no other name."""
PATIENCE = 120_000
"""Milliseconds: a slow machine is no failure."""
BENIGN = ("Method not implemented", "Vega-Lite", "x-scale")
"""Warnings of Gradio's own scripts."""


# what there is to look at


def saved(image: np.ndarray, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Ten photos, of which one lies on its side, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    exif = Image.Exif()
    exif[0x112], exif[0x10F] = 6, "A camera"
    shaken = np.rint(blur_image(data.coffee()[:240, :320], np.full((1, 21), 1 / 21))).astype(np.uint8)
    saved(shaken, folder / "turned.jpg", exif=exif, quality=90)  # the network leaves sharp photos as they are
    for number in range(9):
        at = 20 * number
        saved(data.astronaut()[at : at + 120, at : at + 160], folder / f"part {number}.png")
    (folder / "text.jpg").write_text("This is no photo.")
    return folder


def git(folder: Path, *arguments: str) -> str:
    name = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def train(folder: Path, gain: float, steps: int) -> None:
    """Commit what a training leaves."""
    metrics = folder / "metrics"
    (metrics / "evaluate").mkdir(parents=True, exist_ok=True)
    scores = {"psnr": 26 + gain, "psnr_gain": gain, "ssim": 0.79 + gain / 100, "ssim_gain": gain / 100, "images": 2}
    (metrics / "evaluate.json").write_text(json.dumps(scores))
    curves = metrics / "train/plots/metrics"
    for name, slope in (("train/loss", -0.5), ("val/psnr", gain)):
        (curves / name).parent.mkdir(parents=True, exist_ok=True)
        column = name.partition("/")[2]
        rows = [f"{step}\t{20 + slope * step / steps:.4f}" for step in range(100, steps + 1, 100)]
        (curves / f"{name}.tsv").write_text("\n".join([f"step\t{column}", *rows, ""]))
    panel = np.clip(data.coffee()[:200].astype(float) * (0.6 + gain / 2), 0, 255).astype(np.uint8)
    for name in ("gopro/GOPR9005_09_00/0000", "unsplash/cup/0000"):
        saved(panel, metrics / f"evaluate/panels/{name}.png")
    subprocess.run([sys.executable, "-m", "dvc", "add", "-q", "metrics/evaluate/panels"], cwd=folder, check=True)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", f"A training of {steps} steps")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A repository with three trainings and an experiment; the panels of the first are not in the cache."""
    folder = tmp_path_factory.mktemp("work") / "a place"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=folder, check=True)
    config = "[core]\n    analytics = false\n    remote = s\n['remote \"s\"']\n    url = s3://nobodys-bucket\n"
    (folder / ".dvc/config").write_text(config)
    plots = "plots:\n- val:\n    x: step\n    y:\n      metrics/train/plots/metrics/val/psnr.tsv: psnr\n"
    (folder / "dvc.yaml").write_text(plots)
    train(folder, 0.2, 400)
    shutil.rmtree(folder / ".dvc/cache")
    train(folder, 0.5, 600)
    train(folder, 0.8, 800)
    train(folder, 0.9, 700)
    git(folder, "update-ref", f"refs/exps/ab/{'c' * 38}/bolder", "HEAD")
    git(folder, "reset", "-q", "--hard", "HEAD~1")
    return folder


@pytest.fixture(scope="module")
def page(workplace, tmp_path_factory):
    with served(workplace, tmp_path_factory.mktemp("page")) as found:
        yield found


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", CUT])
        yield browser
        browser.close()


class Visit:
    """A person before the page, in a browser of their own."""

    def __init__(self, chromium, page: Page, width: int = 1280, scheme: str = "light", context=None) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.context = context or chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True
        )
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(PATIENCE)
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        self.tab.on("console", self._said)
        self.tab.on("requestfailed", self._failed)
        self.address = page.address
        self.tab.goto(page.address)
        self.tab.wait_for_selector("#start")

    def _said(self, message) -> None:
        if message.type in ("error", "warning") and not any(word in message.text for word in BENIGN):
            self.problems.append(message.text)

    def _failed(self, request) -> None:
        if request.resource_type not in ("eventsource", "fetch") or "ERR_ABORTED" not in str(request.failure):
            self.problems.append(f"{request.url}: {request.failure}")  # streams that the page itself ends are none

    def hand_in(self, *paths: Path) -> None:
        self.tab.set_input_files("#photos input[type=file]", [str(path) for path in paths])
        for path in paths:
            self.tab.locator("#photos").get_by_text(path.stem).first.wait_for()
        self.tab.wait_for_timeout(300)

    def choose(self, model: str) -> None:
        self.tab.get_by_label("Restore with").click()
        self.tab.get_by_role("option", name=model).click()

    def deblur(self, count: int = 1) -> None:
        self.tab.click("#start")
        self.done(count)

    def done(self, count: int = 1) -> None:
        self.tab.locator("#status", has_text=f"of {count} deblurred").wait_for()
        self.tab.wait_for_selector("#start:not([disabled])")

    def rows(self) -> dict[str, str]:
        found = [row.inner_text().split("\t") for row in self.tab.locator("#outcomes tbody tr").all()]
        return {name: said.strip() for name, said, *_ in found}

    def downloaded(self, selector: str) -> tuple[str, bytes]:
        with self.tab.expect_download() as started:
            self.tab.click(selector)
        return started.value.suggested_filename, Path(started.value.path()).read_bytes()

    def position(self, slider: str = "#slider") -> int:
        return int(self.tab.get_attribute(f"{slider} [data-testid=slider]", "aria-valuenow"))

    def picture(self, name: str) -> None:
        if folder := os.environ.get("DEBLURGAN_TEST_SCREENSHOTS"):
            self.tab.mouse.move(0, 0)
            self.tab.wait_for_timeout(1000)
            shot = Image.open(io.BytesIO(self.tab.screenshot(full_page=True)))
            Path(folder).mkdir(parents=True, exist_ok=True)
            shot.convert("RGB").save(Path(folder) / f"{name}.webp", quality=85, method=6)

    def leave(self) -> None:
        """Close the browser; nothing went wrong, nothing was asked of others."""
        fits = self.tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        self.context.close()
        assert fits, "the page is wider than the screen"
        assert not self.problems
        strangers = [url for url in self.requests if not url.startswith((self.address, "data:", "blob:"))]
        assert not strangers


@pytest.fixture
def visit(chromium, page):
    visits = []

    def new(width: int = 1280, scheme: str = "light") -> Visit:
        visits.append(Visit(chromium, page, width, scheme))
        return visits[-1]

    yield new
    for one in visits:
        one.leave()
    assert not page.reached_out


def by_the_command(workplace: Path, output: Path, *arguments: object) -> dict[str, bytes]:
    """What `python -m deblurgan deblur` makes of the same photos."""
    command = [sys.executable, "-m", "deblurgan", "deblur", *map(str, arguments), "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=workplace, env=environment, check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in output.iterdir()}


# photos


def test_a_turned_photo_comes_back_as_the_command_makes_it(visit, workplace, photos, tmp_path):
    one = visit()
    one.hand_in(photos / "turned.jpg")
    one.deblur()
    images = one.tab.locator("#slider [data-testid=imageslider-image]")
    images.nth(1).wait_for()
    sizes = one.tab.wait_for_function(
        "() => { const all = [...document.querySelectorAll('#slider img')].map(i => [i.naturalWidth, i.naturalHeight]);"
        " return all.length == 2 && all.every(s => s[0]) && all }"
    )
    assert sizes.json_value() == [[240, 320]] * 2  # upright
    name, result = one.downloaded("#download")
    expected = by_the_command(workplace, tmp_path / "out", photos / "turned.jpg")
    assert {name: result} == expected
    assert Image.open(io.BytesIO(result)).size == (240, 320)
    assert one.downloaded("#outcomes a") == (name, result)


def test_photos_in_one_go_and_what_is_none(visit, workplace, photos, tmp_path):
    one = visit()
    inputs = sorted(photos.iterdir())
    one.hand_in(*inputs)
    one.choose("Unsharp masking")
    one.tab.get_by_label("number input for Strength").fill("0.5")
    one.deblur(11)
    rows = one.rows()
    assert rows.pop("text.jpg") == "not an image, or of a format that is not read"
    assert len(rows) == 10
    assert all(re.match(r"\d+×\d+, ", said) for said in rows.values()), rows
    arguments = ["--algorithm", "unsharp", "--strength", "0.5"]
    good = [path for path in inputs if path.name != "text.jpg"]
    expected = by_the_command(workplace, tmp_path / "out", *good, *arguments)
    _, archive = one.downloaded("#download-all")
    with zipfile.ZipFile(io.BytesIO(archive)) as members:
        assert {name: members.read(name) for name in members.namelist()} == expected
    one.tab.get_by_role("radio", name="part 3.png").check()
    one.tab.locator("#download", has_text="part 3.png").wait_for()
    assert one.downloaded("#download") == ("part 3.png", expected["part 3.png"])
    said = one.tab.inner_text("#command")
    assert "--algorithm unsharp --strength 0.5" in " ".join(said.split())


def test_two_browsers_at_once_and_cancelling_keeps_what_is_done(visit, photos, tmp_path):
    large = saved(np.tile(data.coffee(), (6, 6, 1)), tmp_path / "large.png", compress_level=1)
    one, two = visit(), visit()
    two.hand_in(photos / "part 2.png", photos / "part 4.png")
    two.choose("Unsharp masking")
    one.hand_in(photos / "part 1.png", large)
    one.choose("Richardson-Lucy")
    one.tab.click("#start")
    one.tab.locator("#outcomes a").wait_for()
    one.tab.locator("#status", has_text="left").wait_for()  # how long it will take
    assert one.tab.get_attribute("#status progress", "value")
    two.tab.click("#start")
    two.tab.locator("#status", has_text="queue").wait_for()  # one batch at a time
    one.tab.click("#stop")
    one.done(2)
    two.done(2)
    assert set(two.rows()) == {"part 2.png", "part 4.png"}
    assert "1 of 2 deblurred" in one.tab.inner_text("#status")
    rows = one.rows()
    assert rows["part 1.png"].startswith("160×120")
    assert rows["large.png"] == "not done"
    one.tab.get_by_role("button", name="Clear").click()
    one.hand_in(photos / "part 2.png")
    one.deblur()
    assert "1 of 1 deblurred" in one.tab.inner_text("#status")


def test_an_example_and_the_keyboard_alone(visit):
    one = visit(width=390, scheme="dark")
    one.tab.locator("#examples button").first.focus()
    one.tab.keyboard.press("Enter")
    one.tab.locator("#photos").get_by_text("cup").first.wait_for()
    one.choose("Wiener filter")
    one.tab.focus("#start")
    one.tab.keyboard.press("Enter")
    one.done()
    one.tab.wait_for_selector("#slider [data-testid=slider][data-equipped]")
    one.tab.wait_for_timeout(500)
    one.tab.focus("#slider [data-testid=slider]")
    before = one.position()
    one.tab.keyboard.press("ArrowLeft")
    one.tab.keyboard.press("ArrowLeft")
    assert one.position() == pytest.approx(before - 10, abs=1)
    one.tab.keyboard.press("End")
    assert one.position() >= 99
    one.tab.keyboard.press("Home")
    assert one.position() <= 1
    assert one.tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"


def test_results_are_gone_when_the_page_is_closed(visit, page, photos):
    one = visit()
    one.hand_in(photos / "part 5.png")
    one.choose("Unsharp masking")
    one.deblur()
    assert any(page.root.glob("run-*/0000/part 5.png"))
    one.tab.goto("about:blank")
    for _ in range(100):
        if not any(page.root.glob("run-*/0000/part 5.png")):
            break
        one.tab.wait_for_timeout(100)
    assert not any(page.root.glob("run-*/0000/part 5.png"))
    one.tab.goto(page.address)


# trainings


def test_trainings_are_compared(visit, page):
    one = visit()
    one.tab.get_by_role("tab", name="Trainings").click()
    one.tab.locator("#scores-table tbody tr").nth(3).wait_for()
    table = [row.split("\t") for row in one.tab.locator("#scores-table tbody tr").all_inner_texts()]
    assert [row[3] for row in table] == ["+0.90", "+0.80", "+0.50", "+0.20"]
    assert [row[5] for row in table] == ["experiment", *(f"A training of {steps} steps" for steps in (800, 600, 400))]
    assert table[0][0] == "bolder"
    for plot in ("#scores", "#curves"):
        one.tab.locator(f"{plot} canvas, {plot} svg.marks").first.wait_for()
    one.tab.locator("#panels img").nth(1).wait_for()
    one.tab.get_by_label("unsplash/cup/0000").click()
    one.tab.wait_for_function("() => [...document.querySelectorAll('#panels img')].every(i => i.naturalWidth == 600)")
    levels = one.tab.evaluate(
        "() => [...document.querySelectorAll('#panels img')].map(i => { const c = document.createElement('canvas');"
        " c.width = c.height = 1; const x = c.getContext('2d'); x.drawImage(i, 0, 0, 1, 1);"
        " return x.getImageData(0, 0, 1, 1).data[0] })"
    )
    assert levels[0] < levels[1]  # the panels are those of the two commits
    one.picture("trainings-1280")
    one.tab.get_by_label("One training").click()
    one.tab.get_by_role("option", name="400 steps").click()
    one.tab.locator("#panels-said", has_text="dvc fetch").wait_for()  # and S3 was not asked
    one.tab.get_by_label("Curve").click()
    one.tab.get_by_role("option", name="train/loss").click()
    one.tab.locator("#curves canvas, #curves svg.marks").first.wait_for()


def test_plots_of_dvc_need_no_network(workplace, chromium):
    command = [sys.executable, "-m", "deblurgan", "plots", "HEAD~1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=workplace, env=environment, check=True, capture_output=True)
    context = chromium.new_context()
    tab, asked, errors = context.new_page(), [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto((workplace / "dvc_plots/index.html").as_uri())
    tab.locator(".vega-embed canvas, .vega-embed svg.marks").first.wait_for(timeout=PATIENCE)
    assert not errors
    assert [url for url in asked if not url.startswith("file:")] == []
    context.close()


# behind a proxy


@pytest.fixture
def proxy():
    """A reverse proxy that shows the page of `upstream` below /deblur/."""
    import aiohttp
    from aiohttp import web

    upstream: list[str] = []

    async def passed_on(request):
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            target = f"{upstream[0]}/{request.match_info['rest']}?{request.query_string}".rstrip("?")
            headers = {**request.headers, "X-Forwarded-Proto": "http"}
            body = request.content if request.can_read_body else None
            async with session.request(
                request.method, target, headers=headers, data=body, allow_redirects=False, timeout=None
            ) as answer:
                kept = {name: value for name, value in answer.headers.items() if name != "Transfer-Encoding"}
                passed = web.StreamResponse(status=answer.status, headers=kept)
                await passed.prepare(request)
                async for part in answer.content.iter_any():
                    await passed.write(part)
                return passed

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/deblur/{rest:.*}", passed_on)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    loop = asyncio.new_event_loop()

    async def start():
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, listening).start()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(start()), loop.run_forever()), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port}/deblur", upstream
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.mark.long
def test_behind_a_reverse_proxy_and_a_password(workplace, proxy, chromium, photos, tmp_path):
    address, upstream = proxy
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    upstream.append(f"http://127.0.0.1:{port}")
    arguments = ["--address", address, "--auth", "ann:secret", "--port", str(port)]
    with served(workplace, tmp_path / "home", *arguments) as page:
        page.address = f"{address}/"
        context = chromium.new_context(accept_downloads=True)
        tab = context.new_page()
        tab.set_default_timeout(PATIENCE)
        tab.goto(page.address)
        tab.get_by_label("username").fill("ann")
        tab.get_by_label("password").fill("secret")
        tab.get_by_role("button", name="Login").click()
        tab.wait_for_selector("#start")
        one = Visit(chromium, page, context=context)
        one.hand_in(photos / "part 6.png")
        one.choose("Unsharp masking")
        one.deblur()
        assert one.downloaded("#outcomes a")[0] == "part 6.png"
        assert one.downloaded("#download") == one.downloaded("#outcomes a")
        one.leave()


# pictures


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_fits_the_screen(visit, photos, width, scheme):
    one = visit(width, scheme)
    one.tab.locator("#examples button").first.click()
    one.tab.locator("#photos").get_by_text("cup").first.wait_for()
    one.tab.set_input_files("#photos input[type=file]", [str(photos / "text.jpg")])
    one.tab.locator("#photos").get_by_text("text").first.wait_for()
    one.tab.wait_for_timeout(500)
    if width < 1000:
        one.choose("Richardson-Lucy")
    one.deblur(2)
    one.picture(f"photos-{width}")
    wide = one.tab.evaluate(
        "() => [...document.querySelectorAll('button, input, img, table')].filter(e => e.offsetParent &&"
        " e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert not wide
    one.tab.get_by_role("tab", name="Trainings").click()
    one.tab.locator("#scores-table tbody tr").nth(2).wait_for()
    one.tab.locator("#panels img").nth(1).wait_for()
    if width < 1000:
        one.picture(f"trainings-{width}")
