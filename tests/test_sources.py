"""Where photos and pairs come from: bundled ones, a GOPRO_Large folder, the Unsplash API (a local server here)."""

import csv
import http.server
import io
import json
import threading
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from conftest import REAL_DATA, ROOT, edit_params
from PIL import Image

import stages.clean
import stages.fetch_unsplash
import stages.ingest_gopro
from deblurgan.errors import UserError
from deblurgan.images import read_rgb, write_png
from deblurgan.metrics import psnr
from deblurgan.pairs import split_of_photo
from deblurgan.params import load
from deblurgan.sources import bundled
from deblurgan.sources.gopro import find_frames

KEY = "a-very-secret-key"


def test_no_bundled_photo_serves_two_splits():
    split = load(ROOT / "params.yaml").split
    where: dict[str, set[str]] = {}
    for scene, photo in bundled.SCENES.items():
        official, name = scene.split("/")
        part = "val" if name in split.val_scenes else official
        where.setdefault(photo.file, set()).add(part)
    for photo in bundled.SHARP:
        where.setdefault(photo.file, set()).add(split_of_photo(photo.id, split))
    for photo in bundled.BLURRED:
        where.setdefault(photo.file, set()).add("unpaired")
    assert all(len(parts) == 1 for parts in where.values()), where
    assert set.union(*where.values()) == {"train", "val", "test", "unpaired"}
    assert not {"motorcycle_left.png", "motorcycle_right.png"} <= set(where)  # two views of one scene
    assert all(photo.path.is_file() for photo in (*bundled.SHARP, *bundled.BLURRED, *bundled.SCENES.values()))


def test_bundled_scenes_have_the_official_layout(workspace):
    stages.ingest_gopro.main()
    out = workspace / "data/source/gopro"
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert names[:2] == ["test/GOPR9004_13_00/blur/000007.png", "test/GOPR9004_13_00/sharp/000007.png"]
    assert len(names) == 2 * len(bundled.SCENES)
    for path in out.rglob("blur/*.png"):
        sharp = path.parent.with_name("sharp") / path.name
        assert 10 < psnr(read_rgb(path), read_rgb(sharp)) < 45


def test_bundled_photos_come_with_their_authors(workspace):
    stages.fetch_unsplash.main()
    out = workspace / "data/source/unsplash"
    with open(out / "photos.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert all(row["photographer"] and row["licence"] and row["link"] for row in rows)
    listed = sorted(f"{row['kind']}/{row['id']}.jpg" for row in rows)
    assert listed == sorted(path.relative_to(out).as_posix() for path in out.rglob("*.jpg"))


def lay_gopro(root, blur="blur"):
    rng = np.random.default_rng(0)
    for split, scene in (("train", "GOPR0001_07_00"), ("test", "GOPR0002_11_00")):
        for kind in (blur, "sharp"):
            write_png(root / split / scene / kind / "000047.png", rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
        (root / split / scene / "frames 7 offset 0.txt").touch()


@pytest.mark.parametrize("top", ["", "GOPRO_Large"])
@pytest.mark.parametrize("blur", ["blur", "blur_gamma"])
def test_a_gopro_folder_is_taken_byte_for_byte(workspace, top, blur):
    lay_gopro(workspace / "raw" / top, blur)
    edit_params(workspace, {"ingest_gopro": {"source": "raw", "blur": blur}})
    stages.ingest_gopro.main()
    out = workspace / "data/source/gopro"
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    scenes = ("test/GOPR0002_11_00", "train/GOPR0001_07_00")
    assert names == [f"{scene}/{kind}/000047.png" for scene in scenes for kind in ("blur", "sharp")]
    original = workspace / "raw" / top / "test/GOPR0002_11_00" / blur / "000047.png"
    assert (out / names[0]).read_bytes() == original.read_bytes()


def test_a_folder_that_is_no_gopro_is_one_line(workspace):
    with pytest.raises(UserError, match="'nowhere' is neither 'bundled' nor a folder"):
        find_frames("nowhere", "blur")
    (workspace / "empty").mkdir()
    with pytest.raises(UserError, match=r"no image in empty/.*is it a GOPRO_Large folder"):
        find_frames("empty", "blur")


def test_the_wrong_name_for_blur_is_one_line(workspace):
    lay_gopro(workspace / "raw", "blur")
    with pytest.raises(
        UserError, match=r"raw has sharp frames but none in a folder 'blur_gamma': set ingest_gopro\.blur"
    ):
        find_frames("raw", "blur_gamma")


def test_a_camera_without_room_is_one_line(workspace):
    edit_params(workspace, {"ingest_gopro": {"bundled": {"width": 100, "height": 512}}})
    with pytest.raises(UserError, match=r"100x512 leave the camera no room to move in \w+\.png"):
        stages.ingest_gopro.main()
    assert not (workspace / "data/source/gopro").exists()


def test_no_photos_when_none_are_wanted(workspace):
    edit_params(workspace, {"fetch_unsplash": {"source": "none"}})
    stages.fetch_unsplash.main()
    files = [path.name for path in (workspace / "data/source/unsplash").rglob("*") if path.is_file()]
    assert files == ["photos.csv"]


@pytest.mark.skipif(not (REAL_DATA / "GOPRO_Large").is_dir(), reason="no real GoPro frames on this machine")
def test_real_gopro_frames_pass(workspace):
    edit_params(workspace, {"ingest_gopro": {"source": str(REAL_DATA / "GOPRO_Large"), "blur": "blur"}})
    stages.ingest_gopro.main()
    stages.clean.main()
    frames = find_frames(REAL_DATA / "GOPRO_Large", "blur")
    clean = workspace / "data/clean/gopro"
    assert all((clean / frame.target).read_bytes() == frame.path.read_bytes() for frame in frames)
    counts = json.loads((workspace / "metrics/clean.json").read_text())
    assert counts["kept"] == counts["found"] == len(frames) > 0


class Api(http.server.BaseHTTPRequestHandler):
    """The parts of Unsplash's API that are used; images too."""

    def do_GET(self):
        server, url = self.server, urlsplit(self.path)
        server.requests.append((url.path, parse_qs(url.query), self.headers.get("Authorization")))
        if url.path == "/image":
            picture = io.BytesIO()
            Image.new("RGB", (64, 48), "red").save(picture, "JPEG")
            return self.answer(200, picture.getvalue(), "image/jpeg")
        if self.headers.get("Authorization") != f"Client-ID {KEY}":
            return self.answer(401, b'{"errors": ["OAuth error: The access token is invalid"]}')
        if server.limited:  # as recorded: plain text under a JSON content type
            return self.answer(403, b"Rate Limit Exceeded")
        if url.path.endswith("/download"):
            return self.answer(200, b'{"url": "somewhere"}')
        base = f"http://127.0.0.1:{server.server_port}"
        query = parse_qs(url.query)
        names = [f"{query['query'][0][0]}{i}" for i in range(int(query["per_page"][0]))] + ["beyond"]
        results = [
            {
                "id": name,
                "user": {"name": "Ann Ä. Other"},
                "links": {"html": f"{base}/p/{name}", "download_location": f"{base}/photos/{name}/download?ixid=1"},
                "urls": {"raw": f"{base}/image?ixid=7"},
            }
            for name in names
        ]
        return self.answer(200, json.dumps({"results": results}).encode())

    def answer(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def api(monkeypatch, workspace):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.requests, server.limited = [], False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("UNSPLASH_API", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("UNSPLASH_ACCESS_KEY", KEY)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    edit_params(
        workspace,
        {"fetch_unsplash": {"source": "api", "sharp_queries": ["a b", "z"], "blurred_queries": ["a c"]}},
    )
    edit_params(workspace, {"fetch_unsplash": {"photos_per_query": 2}})
    yield server
    server.shutdown()
    server.server_close()


def test_the_api_is_used_by_its_rules(workspace, api):
    stages.fetch_unsplash.main()
    out = workspace / "data/source/unsplash"
    assert sorted(p.name for p in (out / "sharp").iterdir()) == ["a0.jpg", "a1.jpg", "z0.jpg", "z1.jpg"]
    assert not list((out / "blurred").iterdir())  # the same ids came for the sharp query already
    with open(out / "photos.csv", encoding="utf-8") as stream:
        assert {(row["id"], row["photographer"], row["query"]) for row in csv.DictReader(stream)} >= {
            ("a0", "Ann Ä. Other", "a b"),
            ("z1", "Ann Ä. Other", "z"),
        }
    paths = [path for path, _, _ in api.requests]
    assert paths.count("/search/photos") == 3
    assert paths.count("/image") == sum(path.endswith("/download") for path in paths) == 4
    for path, query, key in api.requests:
        assert (key == f"Client-ID {KEY}") == (path != "/image"), "the key goes to the API alone"
        if path == "/image":
            assert query == {"ixid": ["7"], "w": ["1280"], "fit": ["max"], "q": ["90"], "fm": ["jpg"]}
    assert all(KEY not in p.read_text("latin-1") for p in workspace.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda server, patch: patch.delenv("UNSPLASH_ACCESS_KEY"), "needs a key in the environment variable"),
        (lambda server, patch: patch.setenv("UNSPLASH_ACCESS_KEY", "wrong"), "refuses the key in UNSPLASH_ACCESS_KEY"),
        (lambda server, patch: setattr(server, "limited", True), "hourly limit of requests is used up"),
        (lambda server, patch: patch.setenv("UNSPLASH_API", "http://127.0.0.1:9"), "no answer from http://127.0.0.1:9"),
    ],
    ids=["no key", "wrong key", "limit", "no server"],
)
def test_what_stands_in_the_way_is_one_line(workspace, api, monkeypatch, break_it, said):
    break_it(api, monkeypatch)
    with pytest.raises(UserError, match=said) as caught:
        stages.fetch_unsplash.main()
    assert "\n" not in str(caught.value)
    assert KEY not in repr(caught.value.__cause__) + str(caught.value)
    assert not (workspace / "data/source/unsplash").exists()
