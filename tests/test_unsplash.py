"""Photos from Unsplash, by its API and by its Lite data set; servers on 127.0.0.1 answer."""

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pillow_heif
import pytest
from conftest import REAL_DATA, ROOT, contents, edit_params, listens_to_interrupts
from PIL import Image
from servers import KEY, Clock, Unsplash, jpeg, running

import stages.clean
import stages.fetch_unsplash
from deblurgan.errors import UserError
from deblurgan.images import read_rgb
from deblurgan.layout import split_name
from deblurgan.params import load
from deblurgan.sources import rate_limit, web
from deblurgan.sources.own_photos import find_own_photos
from deblurgan.sources.photo_downloads import LeftOutPhotos, Wanted
from deblurgan.sources.rate_limit import Allowance
from deblurgan.sources.unsplash_api import UnsplashPhoto
from deblurgan.sources.web import Gone
from deblurgan.splits import split_by_hash

OUT = Path("data/source/unsplash")
RECORDED = REAL_DATA / "unsplash_api/extracted"


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(rate_limit, "time", clock)
    monkeypatch.setattr(web, "time", clock)
    return clock


@pytest.fixture
def api(monkeypatch, workspace, clock):
    with running(Unsplash()) as server:
        monkeypatch.setenv("UNSPLASH_API", server.address)
        monkeypatch.setenv("UNSPLASH_ACCESS_KEY", KEY)
        edit_params(
            workspace,
            {
                "fetch_unsplash": {
                    "source": "api", "sharp_queries": ["a b", "z"], "blurred_queries": ["a c", "q"],
                    "photos_per_query": 2,
                }
            },
        )  # fmt: skip
        yield server


def rows() -> list[dict[str, str]]:
    with open(OUT / "photos.csv", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def fetched() -> dict[str, bytes]:
    return {path.relative_to(OUT).as_posix(): path.read_bytes() for path in OUT.rglob("*") if path.is_file()}


def test_the_api_is_used_by_its_rules(workspace, api, capsys):
    stages.fetch_unsplash.main()
    assert set(fetched()) == {
        "photos.csv", "sharp/a0.jpg", "sharp/a1.jpg", "sharp/z0.jpg", "sharp/z1.jpg",
        "blurred/q0.jpg", "blurred/q1.jpg",
    }  # fmt: skip
    assert "nothing new found for 'a c'" in "".join(capsys.readouterr())  # the same ids came for the sharp query
    assert {(row["id"], row["kind"], row["photographer"], row["query"]) for row in rows()} >= {
        ("a0", "sharp", "Ann Ä. Other", "a b"),
        ("q1", "blurred", "Ann Ä. Other", "q"),
    }
    for row in rows():
        assert row["link"] == f"{api.address}/p/{row['id']}?utm_source=deblurgan_pipeline&utm_medium=referral"
        assert row["profile"].startswith(f"{api.address}/@ann?utm_source=")
        assert "machine learning use is restricted" in row["licence"]
    assert api.asked("/search/photos") == 4
    assert api.asked("/image/") == api.asked("/download") == 6
    for path, query, key in api.requests:
        assert (key == f"Client-ID {KEY}") == (not path.startswith("/image/")), "the key goes to the API alone"
        if path.startswith("/image/"):
            assert query == {"ixid": "7", "w": "1280", "fit": "max", "q": "90", "fm": "jpg"}
        if path == "/search/photos":
            assert query["per_page"] == "30"


def test_the_key_is_written_nowhere(workspace, api, capsys, monkeypatch):
    stages.fetch_unsplash.main()
    api.gone["a0"] = 404
    api.left = 0
    monkeypatch.setattr(rate_limit, "REFUSALS", 0)
    edit_params(workspace, {"fetch_unsplash": {"photos_per_query": 3}})
    with pytest.raises(UserError) as caught:
        stages.fetch_unsplash.main()
    assert KEY not in repr(caught.value) + repr(caught.value.__cause__)
    assert KEY not in "".join(capsys.readouterr())
    files = [path for path in workspace.rglob("*") if path.is_file()]
    assert any("cache" in path.parts for path in files)
    assert not [path for path in files if KEY in path.read_text("latin-1")]
    assert not [path for path in files if KEY in path.name]


def test_a_netrc_file_has_no_say(workspace, api, monkeypatch):
    """Else it would replace the key, and be sent to the image server."""
    (workspace / "netrc").write_text("machine 127.0.0.1 login somebody password something\n")
    monkeypatch.setenv("NETRC", str(workspace / "netrc"))
    stages.fetch_unsplash.main()
    assert {key for _, _, key in api.requests} == {None, f"Client-ID {KEY}"}


def test_a_key_may_stand_in_a_file(workspace, api, monkeypatch):
    monkeypatch.delenv("UNSPLASH_ACCESS_KEY")
    (workspace / ".env").write_text(f"UNSPLASH_ACCESS_KEY={KEY}\n")
    stages.fetch_unsplash.main()
    assert len(rows()) == 6


def test_one_photo_more_costs_one_photo_more_and_equals_a_rebuild(workspace, api):
    edit_params(workspace, {"fetch_unsplash": {"sharp_queries": ["a"], "blurred_queries": []}})
    stages.fetch_unsplash.main()
    before = len(api.requests)
    stages.fetch_unsplash.main()
    assert len(api.requests) == before
    edit_params(workspace, {"fetch_unsplash": {"photos_per_query": 3}})
    stages.fetch_unsplash.main()
    assert [path for path, _, _ in api.requests[before:]] == ["/photos/a2/download", "/image/a2"]
    grown = fetched()
    shutil.rmtree(workspace / "cache")
    stages.fetch_unsplash.main()
    assert fetched() == grown
    edit_params(workspace, {"fetch_unsplash": {"photos_per_query": 2}})
    stages.fetch_unsplash.main()
    assert len(rows()) == 2


def test_further_pages_are_asked_for_when_needed(workspace, api):
    edit_params(workspace, {"fetch_unsplash": {"sharp_queries": ["a"], "blurred_queries": [], "photos_per_query": 100}})
    stages.fetch_unsplash.main()
    assert len(rows()) == 70
    assert [query["page"] for path, query, _ in api.requests if path == "/search/photos"] == ["1", "2", "3"]


def test_a_run_that_starts_over_goes_on_counting(workspace, api, clock, capsys):
    """Fifty requests an hour, although each run dies after a few of them."""
    api.limit = api.left = 10**6
    moments = []
    allowed = Allowance(workspace / "count.json")
    allowed.heed("7", "3")
    for _ in range(25):
        allowed = Allowance(workspace / "count.json")  # another run
        allowed.spend()
        moments.append(clock.now)
    assert all(sum(start <= m < start + 3600 for m in moments) <= 7 for start in moments)
    assert moments[-1] - moments[0] < 3 * 3600 + 60
    assert "Unsplash allows 7 requests an hour, and they are used up: going on at" in "".join(capsys.readouterr())


@pytest.mark.parametrize("status", [403, 429])
def test_a_refusal_is_waited_out_until_the_next_hour(workspace, api, clock, status, capsys):
    api.refusal, api.left = status, 3
    api.limit = 3
    real_sleep = clock.sleep

    def sleep(seconds: float) -> None:
        before = clock.now // 3600
        real_sleep(seconds)
        if clock.now // 3600 > before:
            api.left = api.limit  # as Unsplash does: a new hour, a new allowance

    clock.sleep = sleep
    stages.fetch_unsplash.main()
    assert len(rows()) == 6
    assert api.asked("/download") == 6
    assert clock.now - 1_700_000_000 > 3600
    assert "nothing is lost, and nothing asked for twice" in "".join(capsys.readouterr())


def test_the_last_allowed_request_is_not_exceeded(workspace, api, clock):
    """X-Ratelimit-Remaining: 0 says that a further request would be refused, so none is sent."""
    api.limit = api.left = 4
    sent_in = []
    real_sleep = clock.sleep

    def sleep(seconds: float) -> None:
        before = clock.now // 3600
        real_sleep(seconds)
        if clock.now // 3600 > before:
            sent_in.append(api.left)
            api.left = api.limit

    clock.sleep = sleep
    stages.fetch_unsplash.main()
    assert len(rows()) == 6
    assert min(sent_in) == 0


@pytest.mark.parametrize("where", ["/search", "/photos", "/image"])
@pytest.mark.parametrize("faults", [[500, 503], ["hang up", 502], ["hang up"] * 4])
def test_a_stumbling_server_is_given_time(workspace, api, clock, where, faults):
    api.faulty, api.faults = where, list(faults)
    stages.fetch_unsplash.main()
    assert len(rows()) == 6
    assert sorted(clock.slept)[-1] >= 1
    if where != "/image":  # images come side by side
        assert clock.slept[: len(faults)] == [2.0**i for i in range(len(faults))]


def test_half_an_image_is_fetched_again(workspace, api):
    api.faulty, api.faults = "/image", ["half an image"] * 2
    stages.fetch_unsplash.main()
    assert all(read_rgb(path).shape == (48, 64, 3) for path in OUT.rglob("*.jpg"))
    assert api.asked("/image/") == 8


def test_a_photo_that_vanished_is_reported_and_skipped(workspace, api, capsys):
    api.gone, api.gone_images = {"a0": 404}, {"z1": 410}
    stages.fetch_unsplash.main()
    assert {row["id"] for row in rows()} == {"a1", "z0", "q0", "q1"}
    output = "".join(capsys.readouterr())
    assert f"left out a0: {api.address}/photos/a0/download is gone (404) ({api.address}/p/a0" in output
    assert f"left out z1: {api.address}/image/z1 is gone (410)" in output
    before = api.asked("/a0/download")
    stages.fetch_unsplash.main()
    assert api.asked("/a0/download") == before


def left_out() -> dict[str, str]:
    with open(OUT / "left_out.csv", encoding="utf-8") as stream:
        return {row["id"]: row["reason"].rpartition(" is ")[2] for row in csv.DictReader(stream)}


def test_photos_that_are_refused_are_recorded_and_skipped(workspace, api, clock, capsys):
    """An image for good after five tries, since hosts say 403 also to whom they find too fast."""
    api.gone, api.gone_images = {"a1": 403}, {"z0": 403, "q1": 451}
    stages.fetch_unsplash.main()
    assert {row["id"] for row in rows()} == {"a0", "z1", "q0"}
    assert left_out() == {"a1": "refused (403)", "z0": "refused (403)", "q1": "refused (451)"}
    assert "left out z0: " in "".join(capsys.readouterr())
    assert (api.asked("/a1/download"), api.asked("/image/z0"), api.asked("/image/q1")) == (1, 5, 1)
    api.gone, api.gone_images = {}, {}
    stages.fetch_unsplash.main()  # a refusal is not for ever
    assert len(rows()) == 6
    assert not (OUT / "left_out.csv").exists()


@pytest.mark.parametrize(
    ("fault", "slept"),
    [(403, 1), (429, 1), ((429, {"Retry_After": "40"}), 40), ((503, {"Retry_After": "500"}), 500)],
)
def test_a_refusal_for_a_moment_ends_no_fetch(workspace, api, clock, fault, slept):
    api.faulty, api.faults = "/image", [fault]
    stages.fetch_unsplash.main()
    assert len(rows()) == 6
    assert max(clock.slept) == pytest.approx(slept, abs=1)


def test_a_host_that_is_busy_for_minutes_ends_no_fetch(workspace, api, clock, capsys):
    api.faulty, api.faults = "/image", [(429, {"Retry_After": "60"})] * 30
    stages.fetch_unsplash.main()
    assert len(rows()) == 6
    assert "/image/" in (output := "".join(capsys.readouterr()))
    assert "answered 429 Too Many Requests: going on at" in output


@pytest.mark.parametrize("wait", ["7200", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_host_that_sends_away_for_hours_is_one_line(workspace, api, wait):
    api.faulty, api.faults = "/image", [(503, {"Retry_After": wait})] * 99
    with pytest.raises(UserError, match=r"answered 503 .*, and asks to wait: run again in \d+ minutes"):
        stages.fetch_unsplash.main()


@pytest.mark.parametrize("fault", ["a page", "half an image", (204, {})])
def test_an_outage_is_no_small_data_set(workspace, api, clock, fault):
    """Hosts that fail send pages with 200, too."""
    api.faulty, api.faults = "/image", [fault] * 999
    with pytest.raises(UserError, match=r"/image/\w+ sent no whole JPEG .*, 5 times: check the network"):
        stages.fetch_unsplash.main()
    assert not OUT.exists()
    assert {1, 2, 4, 8} <= set(clock.slept)


@pytest.mark.parametrize("gone", ["gone", "gone_images"])
@pytest.mark.parametrize("status", [404, 403])
def test_a_few_photos_may_be_missing_but_not_many(workspace, api, gone, status):
    edit_params(workspace, {"fetch_unsplash": {"sharp_queries": ["a"], "blurred_queries": [], "photos_per_query": 20}})
    setattr(api, gone, {f"a{i}": status for i in (0, 7, 9, 19)})
    with pytest.raises(UserError, match=r"4 of 20 photos are not available, the last because http.*: with so many"):
        stages.fetch_unsplash.main()
    assert not OUT.exists()
    setattr(api, gone, {f"a{i}": status for i in (0, 9, 19)})
    stages.fetch_unsplash.main()  # what was gone in the outage is asked for again
    assert len(rows()) == 17
    assert set(left_out()) == {"a0", "a9", "a19"}


def test_one_photo_of_one_is_not_few(workspace, api):
    edit_params(workspace, {"fetch_unsplash": {"sharp_queries": ["a"], "blurred_queries": [], "photos_per_query": 1}})
    api.gone_images = {"a0": 404}
    with pytest.raises(UserError, match="1 of 1 photos are not available"):
        stages.fetch_unsplash.main()


@pytest.mark.parametrize(
    ("wanted", "every"), [(40, 13), (2000, 25), (20000, 21)], ids=["three", "less than 5 %", "just less than 5 %"]
)
def test_photos_that_are_few_are_left_out(wanted, every):
    left_out = LeftOutPhotos(wanted)
    photo = UnsplashPhoto("x", "", "", "http://x", "http://x", "")
    for tried in range(every, wanted + 1, every):
        left_out.add(Wanted("sharp", "q", photo), Gone("gone"), tried)
    assert len(left_out.rows) == wanted // every


@pytest.mark.parametrize(("wanted", "few"), [(10, 3), (1000, 10), (20000, 10)])
def test_an_outage_is_noticed_soon(wanted, few):
    left_out = LeftOutPhotos(wanted)
    photo = UnsplashPhoto("x", "", "", "http://x", "http://x", "")
    with pytest.raises(UserError, match=f"{few + 1} of {few + 1} photos are not available"):
        for tried in range(1, 30):
            left_out.add(Wanted("sharp", "q", photo), Gone("gone"), tried)


def test_a_search_that_finds_nothing_is_no_small_data_set(workspace, api):
    api.recorded = []
    with pytest.raises(UserError, match=r"nothing found for any of fetch_unsplash\.sharp_queries and blurred_queries"):
        stages.fetch_unsplash.main()
    api.recorded = None
    stages.fetch_unsplash.main()  # it was not kept
    assert len(rows()) == 6


@pytest.mark.parametrize("where", ["/search", "/photos"])
@pytest.mark.parametrize(
    ("headers", "slept"),
    [({"Retry_After": "30"}, 30), ({"Retry_After": "30", "X_Ratelimit_Remaining": "0"}, 30), ({}, 1)],
    ids=["with a word", "used up, with a word", "without a word"],
)
def test_the_api_is_waited_for_as_long_as_it_says(workspace, api, clock, capsys, where, headers, slept):
    """What is used up is another question than when to come back."""
    rates = {"X_Ratelimit_Limit": "5000", "X_Ratelimit_Remaining": "4000"}
    api.faulty, api.faults = where, [(429, {**rates, **headers})]
    start = clock.now
    stages.fetch_unsplash.main()
    assert len(rows()) == 6
    assert slept <= clock.now - start < slept + 2
    assert "used up" not in (output := "".join(capsys.readouterr()))
    assert ("Unsplash asks to wait: going on at" in output) == (slept > 10)


def test_the_api_that_asks_to_wait_for_a_day_is_one_line(workspace, api):
    api.faults = [(429, {"Retry_After": "86400"})]
    with pytest.raises(UserError, match="Unsplash asks to wait for 24 hours: run it again then"):
        stages.fetch_unsplash.main()


def test_an_image_that_drips_holds_nothing_up(workspace, api, clock):
    """A byte every three seconds would take hours, and no read ever times out."""
    api.tick = lambda: clock.turn(3)
    api.faulty, api.faults = "/image", ["drip"] * 2
    stages.fetch_unsplash.main()
    assert fetched()["sharp/a0.jpg"] == jpeg("a0")
    api.faults = ["drip"] * 99
    shutil.rmtree(workspace / "cache/photos")
    with pytest.raises(UserError, match=r"no answer from .*/image/\w+ \(.*Timeout\), 5 times"):
        stages.fetch_unsplash.main()


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda server, patch: patch.delenv("UNSPLASH_ACCESS_KEY"), "needs a key in the environment variable"),
        (lambda server, patch: patch.setenv("UNSPLASH_ACCESS_KEY", "wrong"), "refuses the key in UNSPLASH_ACCESS_KEY"),
        (lambda server, patch: patch.setenv("UNSPLASH_ACCESS_KEY", "two\nlines"), "holds characters that no key has"),
        (lambda server, patch: setattr(server, "left", -(10**9)), "refused every request for 3 hours"),
        (lambda server, patch: patch.setenv("UNSPLASH_API", "http://127.0.0.1:9"), "no answer from http://127.0.0.1:9"),
        (lambda server, patch: setattr(server, "faults", [500] * 99), "search/photos answered 500 .*, 5 times"),
        (lambda server, patch: setattr(server, "faults", [400]), "search/photos answered 400 Bad Request"),
        (lambda server, patch: setattr(server, "faults", [404]), "search/photos is gone .404.: is this an API"),
        (lambda server, patch: setattr(server, "faults", [403]), "search/photos is refused .403.: is this an API"),
        (lambda server, patch: setattr(server, "search", lambda query: [{}]), "that is not a search result"),
        (lambda server, patch: setattr(server, "search", lambda query: [stranger(server)]), "outside .*: refused"),
    ],
    ids=[
        "no key",
        "wrong key",
        "odd key",
        "limit",
        "no server",
        "down",
        "bad",
        "elsewhere",
        "not open",
        "nonsense",
        "thief",
    ],
)
def test_what_stands_in_the_way_is_one_line(workspace, api, monkeypatch, break_it, said):
    break_it(api, monkeypatch)
    with pytest.raises(UserError, match=said) as caught:
        stages.fetch_unsplash.main()
    assert "\n" not in str(caught.value)
    assert KEY not in repr(caught.value.__cause__) + str(caught.value)
    assert not OUT.exists()


def stranger(server) -> dict:
    photo = server.photo("x")
    photo["links"]["download_location"] = "http://elsewhere.example/photos/x/download"
    return photo


@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded answers of Unsplash on this machine")
@pytest.mark.parametrize("name", ["search_photos_200_2019.json", "search_photos_200_modern.json"])
def test_recorded_answers_are_understood(workspace, api, name):
    body = json.loads((RECORDED / name).read_text())["body"]
    recorded = json.loads(body)["results"] if isinstance(body, str) else body["results"]
    for photo in recorded:  # the recorder has replaced the server's address
        for group in ("links", "urls"):
            photo[group] = {
                key: value.replace("<API_URI>", f"{api.address}/") if isinstance(value, str) else value
                for key, value in photo[group].items()
            }
        photo["links"]["download_location"] = f"{api.address}/photos/{photo['id']}/download"
        photo["urls"]["raw"] = f"{api.address}/image/{photo['id']}?{photo['urls']['raw'].partition('?')[2]}"
    api.recorded = recorded
    edit_params(workspace, {"fetch_unsplash": {"sharp_queries": ["dog"], "blurred_queries": [], "photos_per_query": 9}})
    stages.fetch_unsplash.main()
    assert [row["id"] for row in rows()] == [photo["id"] for photo in recorded]
    assert all(row["photographer"] and row["profile"] and row["link"] for row in rows())
    for path, query, _ in api.requests:
        if path.startswith("/image/") and "ixid" in "".join(p["urls"]["raw"] for p in recorded):
            assert query["ixid"]


@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded answers of Unsplash on this machine")
def test_recorded_refusals_are_refusals():
    limit = json.loads((RECORDED / "403_rate_limit_exceeded_php.json").read_text())["response"]
    assert limit["status"]["code"] == "403"
    assert "rate limit" in limit["body"].lower()


LITE = [
    ("l1", "A busy City street, at night", "", "Ann", "Ä. Other"),
    ("l2", "Rocks", "gray rocks near a city", "Bob", ""),
    ("l3", "", "people on a street of a city", "", ""),
    ("l4", "Cityscape streets", "", "Eve", "X"),
]


def lay_lite(folder: Path, server: Unsplash, parts: dict[str, list] | None = None, separator: str = "\t") -> None:
    names = ("photo_id", "photo_url", "photo_image_url", "photo_description", "ai_description",
             "photographer_first_name", "photographer_last_name", "photographer_username", "blur_hash")  # fmt: skip
    folder.mkdir()
    for part, photos in (parts or {"photos.tsv000": LITE}).items():
        with open(folder / part, "w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream, delimiter=separator)
            table.writerow(names)
            for name, described, seen, first, last in photos:
                link, image = f"https://unsplash.com/photos/{name}", f"{server.address}/image/{name}"
                table.writerow([name, link, image, described, seen, first, last, f"user_{name}", "L123"])


@pytest.mark.parametrize(
    ("parts", "separator"),
    [
        ({"photos.tsv000": LITE}, "\t"),
        ({"photos.csv000": LITE}, "\t"),
        ({"photos.csv": LITE}, ","),
        ({"photos.csv000": LITE[:2], "photos.csv001": LITE[1:]}, "\t"),
        ({"photos.csv000": LITE, "photos.tsv000": LITE}, "\t"),
    ],
    ids=["until 2023", "as shipped today", "by commas", "in parts", "old and new"],
)
def test_lite_photos_need_no_key(workspace, api, monkeypatch, parts, separator):
    monkeypatch.delenv("UNSPLASH_ACCESS_KEY")
    lay_lite(workspace / "lite", api, parts, separator)
    (workspace / "lite/keywords.csv000").write_text("photo_id\n")
    changes = {"source": "lite", "lite": "lite", "sharp_queries": ["city street"], "blurred_queries": ["ROCKS"]}
    edit_params(workspace, {"fetch_unsplash": changes})
    stages.fetch_unsplash.main()
    assert [(row["id"], row["kind"], row["photographer"]) for row in rows()] == [
        ("l1", "sharp", "Ann Ä. Other"), ("l3", "sharp", "user_l3"), ("l2", "blurred", "Bob"),
    ]  # fmt: skip
    assert all("not for redistribution" in row["licence"] for row in rows())
    assert rows()[0]["profile"].startswith("https://unsplash.com/@user_l1?utm_source=")
    assert {path for path, _, _ in api.requests} == {"/image/l1", "/image/l2", "/image/l3"}
    assert fetched()["sharp/l1.jpg"] == jpeg("l1")


@pytest.mark.parametrize(
    ("lay", "said"),
    [
        (lambda folder: None, r"lite is not there; get the Lite data set"),
        (lambda folder: folder.mkdir(), r"lite holds no photos\.\[ct\]sv\*; get the Lite data set from https://unspl"),
        (lambda folder: folder.write_text("a\tb\n1\t2\n"), r"lite is no table of photos of the Unspl.* .KeyError"),
        (lambda folder: folder.write_bytes(b"\xff\xfe\x00"), r"lite is no table of photos"),
    ],
    ids=["nothing", "empty folder", "other table", "no table"],
)
def test_a_wrong_lite_table_is_one_line(workspace, lay, said):
    lay(workspace / "lite")
    edit_params(workspace, {"fetch_unsplash": {"source": "lite", "lite": "lite"}})
    with pytest.raises(UserError, match=said):
        stages.fetch_unsplash.main()
    assert not OUT.exists()


def test_photos_are_named_by_their_id_alone(workspace, api):
    """An id is what a server says; it must not choose a place on this disk."""
    for odd in ("../../../escaped", "", "..", ".x", 5, None, "a" * 65, "\udc80"):
        api.search = lambda query, odd=odd: [{**api.photo("x"), "id": odd}]
        with pytest.raises(UserError, match="that is not a search result"):
            stages.fetch_unsplash.main()
    assert not list(workspace.parent.rglob("*escaped*"))
    for field in ("http://[bad", 5, None, "no address"):
        api.search = lambda query, field=field: [{**api.photo("x"), "urls": {"raw": field}}]
        with pytest.raises(UserError, match="that is not a search result"):
            stages.fetch_unsplash.main()
    api.search = lambda query: [api.photo("x"), api.photo("y"), api.photo("x")]
    stages.fetch_unsplash.main()  # the odd answers were not kept
    assert [row["id"] for row in rows()] == ["x", "y"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"limit": "x", "sent": 1}'])
def test_a_damaged_cache_is_asked_for_again(workspace, api, damage):
    stages.fetch_unsplash.main()
    before = len(rows())
    for folder in ("searches", "downloads"):
        for path in (workspace / "cache/unsplash").rglob(f"{folder}/*.json"):
            path.write_bytes(damage)
    stages.fetch_unsplash.main()
    assert len(rows()) == before
    (count,) = (workspace / "cache/unsplash").rglob("hour-*.json")
    for path in (workspace / "cache/unsplash").rglob("searches/*.json"):
        path.unlink()
    count.write_bytes(damage)
    with pytest.raises(UserError, match=r"hour-\w+\.json is damaged: wait an hour"):
        stages.fetch_unsplash.main()


def test_runs_side_by_side_share_the_hour(workspace, clock):
    runs = [Allowance(workspace / "count.json") for _ in range(4)]
    moments = []
    for i in range(120):
        runs[i % 4].spend()
        moments.append(clock.now)
    assert all(sum(start <= m < start + 3600 for m in moments) <= 50 for start in moments)


def test_a_server_that_hangs_keeps_nobody_from_leaving(workspace, api):
    """Ctrl-C ends a fetch at once, although images are still on their way."""
    api.stall = threading.Event()
    try:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "stages.fetch_unsplash"]
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                                   preexec_fn=listens_to_interrupts)  # fmt: skip
        while not api.asked("/image/"):
            assert process.poll() is None
            time.sleep(0.01)
        errors = None
        while errors is None:  # Python drops an interrupt that comes while it cleans an object up: again, as one would
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                _, errors = process.communicate(timeout=30)
    finally:
        api.stall.set()
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith("fetch_unsplash: interrupted")
    assert "Traceback" not in errors


def lay_own(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(name))


def test_photos_of_a_folder_are_taken(workspace, capsys):
    names = ("sharp/a b.jpg", "sharp/walk/1.JPG", "sharp/2020/1.png", "blurred/ä.webp", "blurred/.hidden.jpg")
    lay_own(workspace / "mine", *names, "blurred/notes.txt", "not there.jpg")
    edit_params(workspace, {"fetch_unsplash": {"source": str(workspace / "mine")}})
    stages.fetch_unsplash.main()
    taken = {"sharp/a b.jpg": names[0], "sharp/walk-1.jpg": names[1], "sharp/2020-1.png": names[2],
             "blurred/ä.webp": names[3]}  # fmt: skip
    assert {name: data for name, data in fetched().items() if name != "photos.csv"} == {
        name: jpeg(source) for name, source in taken.items()
    }
    assert [(row["id"], row["kind"], row["link"], row["licence"], row["query"]) for row in rows()] == [
        ("2020-1", "sharp", names[2], "your own", "folder"),
        ("a b", "sharp", names[0], "your own", "folder"),
        ("walk-1", "sharp", names[1], "your own", "folder"),
        ("ä", "blurred", names[3], "your own", "folder"),
    ]
    assert str(workspace) not in (OUT / "photos.csv").read_text()
    output = capsys.readouterr().out
    assert "left out blurred/notes.txt: no image in sharp/ or blurred/" in output
    assert "left out not there.jpg: no image in sharp/ or blurred/" in output


def test_photos_of_phones_in_a_folder_are_taken(workspace, capsys):
    names = ("blurred/IMG_0001.HEIC", "blurred/walk/IMG_0002.avif", "sharp/saved.jfif", "sharp/old.jpe")
    lay_own(workspace / "mine", *names)
    for name in names[:2]:
        with Image.open(workspace / "mine" / name) as photo:
            if name.endswith(".avif"):
                photo.save(workspace / "mine" / name, "AVIF")
            else:
                pillow_heif.from_pillow(photo).save(workspace / "mine" / name)
    edit_params(workspace, {"fetch_unsplash": {"source": "mine"}})
    stages.fetch_unsplash.main()
    assert "left out" not in capsys.readouterr().out
    assert [row["query"] for row in rows()] == ["folder"] * 4
    (workspace / "data/source/pairs").mkdir()
    stages.clean.main()
    assert {name for name in contents("data/clean") if name.endswith(".png")} == {
        f"unsplash/{name}.png" for name in ("blurred/IMG_0001", "blurred/walk-IMG_0002", "sharp/saved", "sharp/old")
    }


def test_photos_of_a_folder_never_share_a_name(workspace):
    names = ("sharp/a.jpg", "sharp/a.png", "sharp/walk/1.jpg", "sharp/walk-1.jpg", "blurred/a.jpg")
    lay_own(workspace / "mine", *names)
    edit_params(workspace, {"fetch_unsplash": {"source": "mine"}})
    stages.fetch_unsplash.main()
    assert len({row["id"] for row in rows()}) == len({path.stem for path in OUT.rglob("*/*.*")}) == 5
    first = fetched()
    assert sorted(data for name, data in first.items() if name != "photos.csv") == sorted(map(jpeg, names))
    assert {"sharp/a.jpg", "sharp/walk-1.jpg"} <= set(first)
    stages.fetch_unsplash.main()
    assert fetched() == first


def test_a_new_photo_of_an_old_ones_name_moves_it_to_no_other_split(workspace):
    """`DSC0000.heic` comes before `DSC0000.jpg`, and takes its id."""
    names = [f"DSC{i:04d}" for i in range(20)]
    lay_own(workspace / "mine", *(f"sharp/{name}.jpg" for name in names))
    split = load().split
    before, _ = find_own_photos("mine")
    lay_own(workspace / "mine", *(f"sharp/{name}.heic" for name in names))
    after, _ = find_own_photos("mine")
    assert len({photo.id for photo in after}) == 40
    where = [{p.name: split_by_hash(split_name(p.id), split) for p in photos} for photos in (before, after)]
    assert where[0].items() <= where[1].items()
    assert len(set(where[0].values())) > 1


def test_photos_deep_in_folders_with_long_names_are_taken(workspace):
    deep = "/".join(f"{i} {'Straße' * 12}" for i in range(6))
    names = tuple(f"sharp/{deep}/{name}.jpg" for name in ("a", "b", "x" * 180 + "a", "x" * 180 + "b"))
    lay_own(workspace / "mine", *names, "blurred/c.jpg")
    edit_params(workspace, {"fetch_unsplash": {"source": "mine"}})
    stages.fetch_unsplash.main()
    assert sorted(data for name, data in fetched().items() if name != "photos.csv") == sorted(
        map(jpeg, (*names, "blurred/c.jpg"))
    )
    assert len({row["id"] for row in rows()}) == 5
    assert {row["link"] for row in rows()} == {*names, "blurred/c.jpg"}
    (workspace / "data/source/pairs").mkdir()
    stages.clean.main()
    assert len(Path("data/clean/manifest.csv").read_text(encoding="utf-8").splitlines()) == 6


def test_photos_of_a_folder_are_cleaned_and_notes_on_photos_are_not(workspace):
    lay_own(workspace / "mine", "blurred/walk/a.jpg", "sharp/b.jpg")
    edit_params(workspace, {"fetch_unsplash": {"source": "mine"}})
    stages.fetch_unsplash.main()
    (OUT / "left_out.csv").write_text("id\n")
    (workspace / "data/source/pairs").mkdir()
    stages.clean.main()
    assert {"unsplash/blurred/walk-a.png", "unsplash/sharp/b.png"} <= set(contents("data/clean"))
    assert len(Path("data/clean/rejected.csv").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], r"fetch_unsplash\.source = 'mine' is neither bundled, none, lite or api nor a folder"),
        (["a.jpg", "blur/b.jpg"], r"mine has no photos in sharp/ or blurred/: put sharp ones into mine/sharp, blurred"),
        (["sharp/readme.txt"], "mine has no photos in sharp/ or blurred/"),
    ],
)
def test_a_folder_without_photos_is_one_line(workspace, names, said):
    lay_own(workspace / "mine", *names)
    edit_params(workspace, {"fetch_unsplash": {"source": "mine"}})
    with pytest.raises(UserError, match=said):
        stages.fetch_unsplash.main()
    assert not OUT.exists()
