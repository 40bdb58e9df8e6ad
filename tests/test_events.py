"""The live edge: what becomes of one object, whatever is said about it, and however often."""

import csv
import io
import itertools
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aws import moto
from botocore.exceptions import ClientError, EndpointConnectionError, ResponseStreamingError
from conftest import REAL_DATA, Repo, contents, edit_params
from hypothesis import given
from hypothesis import strategies as st
from live import Live, picture
from PIL import Image

import stages.clean
import stages.resize
from deblurgan.errors import UserError
from deblurgan.events.deblurring import Deblurrer, load_deblurrer
from deblurgan.events.handling import Failed, handle
from deblurgan.events.keys import LONGEST, photo_key, rejection_key
from deblurgan.events.messages import Arrival, BadMessage, arrivals
from deblurgan.events.process import Outcome, Unsettled, process
from deblurgan.events.settings import code_revision, settings_from, settings_of
from deblurgan.files import sha256_of
from deblurgan.params import load
from deblurgan.restoration import tiles
from deblurgan.restoration.classical import algorithm
from deblurgan.restoration.explosions import Guard

KEY = "photos/a b+ü&1%41.jpg"
SAMPLES = REAL_DATA / "s3_events"


@pytest.fixture(scope="module")
def server():
    with moto() as address:
        yield address


@pytest.fixture
def live(server, monkeypatch) -> Live:
    found = Live(server)
    client = found.client("s3")
    for bucket in client.list_buckets()["Buckets"]:  # of the test before
        for version in client.list_object_versions(Bucket=bucket["Name"]).get("Versions", ()):
            client.delete_object(Bucket=bucket["Name"], Key=version["Key"], VersionId=version["VersionId"])
        for marker in client.list_object_versions(Bucket=bucket["Name"]).get("DeleteMarkers", ()):
            client.delete_object(Bucket=bucket["Name"], Key=marker["Key"], VersionId=marker["VersionId"])
        client.delete_bucket(Bucket=bucket["Name"])
    for queue in found.client("sqs").list_queues().get("QueueUrls", ()):
        found.client("sqs").delete_queue(QueueUrl=queue)
    return found.create()


def unsharp() -> Deblurrer:
    """What deblurs, in the place of a network."""
    method = algorithm("unsharp", in_light=True)
    guard = Guard(method.run)
    return Deblurrer(replace(method, run=guard), guard, "2" * 64)


def sixteen_bits() -> bytes:
    stream = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 65536, (48, 64), dtype=np.uint16)
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(1, "JPEG", (640, 400), exif=exif)


GOOD = {
    "clean.png": picture(2, size=(60, 40)),  # stays byte for byte
    "large.png": picture(3, size=(300, 200)),
    "turned.jpg": turned(),
    "cmyk.jpg": picture(4, "JPEG", mode="CMYK"),
    "transparent.webp": picture(5, "WEBP", mode="RGBA"),
    "sixteen.png": sixteen_bits(),
    "phone.avif": picture(6, "AVIF"),
}
BAD = {
    "note.jpg": b"a note",
    "empty.png": b"",
    "half.jpg": picture(7, "JPEG")[:400],
    "tiny.png": picture(8, size=(20, 20)),
    "thin.png": picture(9, size=(2000, 33)),
    "moving.gif.webp": picture(10, "WEBP", save_all=True, append_images=[Image.new("RGB", (96, 72))]),
}


def test_results_are_those_of_the_stages(live, workspace):
    """The same bytes, and the same reasons."""
    folder = Path("data/source/unsplash/blurred")
    folder.mkdir(parents=True)
    for other in ("data/source/pairs", "data/source/unsplash/sharp", "data/synthetic"):
        Path(other).mkdir(parents=True)
    for name, data in {**GOOD, **BAD}.items():
        (folder / name).write_bytes(data)
        live.put(f"photos/{name}", data)
    edit_params(workspace, {"split": {"val_scenes": []}})
    stages.clean.main()
    stages.resize.main()

    p = load()
    deblur = unsharp()
    settings = live.settings(clean=p.clean, resize=p.resize, deblurred=live.deblurred, deblur=deblur)
    for body in live.bodies():
        handle(body, settings)
    staged = contents("data/resized/unpaired")
    names = {Path(name).with_suffix(".png").name: name for name in GOOD}
    assert {names[name] for name in staged} == set(GOOD)
    resized = live.contents(live.resized)
    for name, data in staged.items():
        assert resized.pop(f"photos/{names[name]}.png") == data, name
        with Image.open(io.BytesIO(data)) as image:
            restored = tiles.deblur(deblur.method, np.asarray(image))
        with Image.open(io.BytesIO(live.read(live.deblurred, f"photos/{names[name]}.png"))) as image:
            np.testing.assert_array_equal(np.asarray(image), restored)
    assert len(live.keys(live.deblurred)) == len(staged)

    with open("data/clean/rejected.csv", newline="") as stream:
        reasons = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(stream)}
    reasons["thin.png"] = "its shorter side becomes less than 16 pixels"
    reports = {key: json.loads(data) for key, data in resized.items()}
    assert {report["key"]: report["reason"] for report in reports.values()} == {
        f"photos/{name}": reason for name, reason in reasons.items()
    }
    assert set(reports) == {f"rejected/photos/{name}.json" for name in BAD}


def test_the_clean_stage_and_the_live_edge_filter_alike(live, workspace):
    p = load()
    clean = p.clean.model_copy(update={"denoise": "median", "posterize": 3, "equalize": True})
    live.put("photos/a.png", GOOD["clean.png"])
    process(live.source, "photos/a.png", live.settings(clean=clean, resize=p.resize))
    source, target = workspace / "source", workspace / "clean"
    for folder in (source / "unsplash/blurred", source / "pairs", target):
        folder.mkdir(parents=True)
    (source / "unsplash/blurred/a.png").write_bytes(GOOD["clean.png"])
    stages.clean.clean_folder(source, target, clean)
    assert live.read(live.resized, "photos/a.png.png") == (target / "unsplash/blurred/a.png").read_bytes()


def test_a_result_says_what_it_was_made_of(live):
    live.put(KEY, picture(1, "JPEG"))
    settings = live.settings(deblurred=live.deblurred, deblur=unsharp())
    outcome = process(live.source, KEY, settings)
    assert outcome.kind == "resized"
    assert outcome.deblurred
    for bucket, more in ((live.resized, {}), (live.deblurred, {"model-sha256": "2" * 64})):
        found = live.s3.head_object(Bucket=bucket, Key=f"{KEY}.png")
        assert found["ContentType"] == "image/png"
        assert found["Metadata"] == {
            "source-etag": outcome.etag,
            "code-revision": "1" * 40,
            "parameters-sha256": settings.parameters_sha256,
            **more,
        }
    other = settings.resize.model_copy(update={"width": 65})
    assert replace(settings, resize=other).parameters_sha256 != settings.parameters_sha256


def halving(path: Path) -> Path:
    """An exported generator that makes photos darker by half a range at most: a network of one layer."""
    onnx = pytest.importorskip("onnx")
    shape = ["N", "H", "W", 3]
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Mul", ["blurred", "half"], ["restored"])],
        "halving",
        [helper.make_tensor_value_info("blurred", kind, shape)],
        [helper.make_tensor_value_info("restored", kind, shape)],
        [helper.make_tensor("half", kind, [], [0.5])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"stride": "8", "reach": "8", "bytes_per_pixel": "100", "padding": "mirror"})
    onnx.save(model, path)
    return path


def test_an_exported_generator_deblurs(live, tmp_path):
    """As `python -m deblurgan deblur` does by it; TensorFlow has no part in this."""
    exported = pytest.importorskip("deblurgan.restoration.exported")
    model = halving(tmp_path / "model.onnx")
    settings = live.settings(deblurred=live.deblurred, deblur=load_deblurrer(model))
    live.put(KEY, picture(1, size=(90, 61)))
    assert process(live.source, KEY, settings).deblurred
    with Image.open(io.BytesIO(live.read(live.resized, f"{KEY}.png"))) as image:
        small = np.asarray(image)
    with Image.open(io.BytesIO(live.read(live.deblurred, f"{KEY}.png"))) as image:
        restored = np.asarray(image)
    method, _ = exported.ExportedGenerator(model).restoring()
    np.testing.assert_array_equal(restored, tiles.deblur(method, small))
    np.testing.assert_allclose(restored, (small.astype(float) - 127.5) / 2 + 127.5, atol=0.51)
    metadata = live.s3.head_object(Bucket=live.deblurred, Key=f"{KEY}.png")["Metadata"]
    assert metadata["model-sha256"] == sha256_of(model)


def test_keys_arrive_as_they_were(live):
    """Through S3's own notification."""
    keys = [
        KEY,
        "photos/ü/ö+ä.jpg",
        "photos/100%.jpg",
        "photos/a//b.jpg",
        "photos/日本 (1).jpg",
        "photos/%2B=?&;:@,$.jpg",
    ]
    for key in keys:
        live.put(key, GOOD["clean.png"])
    found = [arrival for body in live.bodies() for arrival in arrivals(body)]
    assert found == [Arrival(live.source, key) for key in keys]
    for arrival in found:
        assert process(arrival.bucket, arrival.key, live.settings()).kind == "resized"
    assert live.keys(live.resized) == {f"{key}.png" for key in keys}


def test_twice_changes_nothing(live):
    live.s3.put_bucket_versioning(Bucket=live.resized, VersioningConfiguration={"Status": "Enabled"})
    live.put("photos/good.png", GOOD["large.png"])
    live.put("photos/bad.png", b"a note")
    settings = live.settings(deblurred=live.deblurred, deblur=unsharp())
    kinds = [process(live.source, key, settings).kind for key in ("photos/good.png", "photos/bad.png") * 2]
    assert kinds == ["resized", "rejected", "unchanged", "unchanged"]
    assert len(live.s3.list_object_versions(Bucket=live.resized)["Versions"]) == 2


def test_other_parameters_code_or_model_make_it_anew(live):
    live.put(KEY, GOOD["large.png"])
    settings = live.settings(deblurred=live.deblurred, deblur=unsharp())
    changes = [
        {},
        {"revision": "3" * 40},
        {"clean": settings.clean.model_copy(update={"posterize": 2})},
        {"deblur": replace(unsharp(), sha256="4" * 64)},
    ]
    for change in changes:
        assert process(live.source, KEY, replace(settings, **change)).kind == "resized"
    changed = live.settings(revision=f"{'1' * 40}-dirty")  # which says nothing about what was changed
    assert [process(live.source, KEY, changed).kind for _ in range(2)] == ["resized", "resized"]


def test_what_is_gone_is_no_error(live):
    assert process(live.source, KEY, live.settings()).kind == "gone"
    live.s3.put_bucket_versioning(Bucket=live.source, VersioningConfiguration={"Status": "Enabled"})
    live.put(KEY, GOOD["large.png"])
    live.s3.delete_object(Bucket=live.source, Key=KEY)
    (body,) = live.bodies()
    assert handle(body, live.settings()) == ["gone"]
    assert not live.keys(live.resized)


def test_a_folder_of_the_console_is_no_photo(live):
    live.put("photos/", b"")
    assert process(live.source, "photos/", live.settings()) == Outcome(
        "folder", etag="d41d8cd98f00b204e9800998ecf8427e"
    )
    assert not live.keys(live.resized)


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_in_any_order_the_latest_version_counts(live, order):
    live.s3.put_bucket_versioning(Bucket=live.source, VersioningConfiguration={"Status": "Enabled"})
    for data in (picture(1), b"a note", picture(2)):
        live.put(KEY, data)
    bodies = live.bodies()
    for i in order:
        handle(bodies[i], live.settings())
    assert live.contents(live.resized).keys() == {f"{KEY}.png"}
    with Image.open(io.BytesIO(live.read(live.resized, f"{KEY}.png"))) as image:
        small = image.convert("RGB").resize((8, 6))
    with Image.open(io.BytesIO(picture(2))) as image:
        assert np.abs(np.asarray(small).astype(int) - np.asarray(image.resize((8, 6)))).mean() < 5


def test_a_photo_is_either_resized_or_rejected(live):
    """Whatever it was before."""
    settings = live.settings(deblurred=live.deblurred, deblur=unsharp())
    good, bad = {f"{KEY}.png"}, {f"rejected/{KEY}.json"}
    for data, expected in ((picture(1), good), (b"a note", bad), (picture(2), good)):
        live.put(KEY, data)
        process(live.source, KEY, settings)
        assert live.keys(live.resized) == expected
        assert live.keys(live.deblurred) == expected & good


class Meddling:
    """A client of S3 that does something else shortly before a call."""

    def __init__(self, client, **before):
        self._client, self._before = client, before

    def __getattr__(self, name):
        def call(**arguments):
            if name in self._before:
                self._before[name](arguments)
            return getattr(self._client, name)(**arguments)

        return call


def test_a_photo_that_is_replaced_meanwhile_is_begun_anew(live):
    """Also where another worker has finished with the new one before this one writes the old one."""
    live.put(KEY, picture(1))
    once = iter([b"a note"])

    def replace_it(_):
        for data in once:
            live.put(KEY, data)
            assert process(live.source, KEY, live.settings()).kind == "rejected"

    settings = live.settings(client=Meddling(live.s3, put_object=replace_it))
    assert process(live.source, KEY, settings).kind == "rejected"
    assert live.keys(live.resized) == {f"rejected/{KEY}.json"}


def test_a_photo_that_is_replaced_without_end_is_an_error(live):
    numbers = itertools.count()
    settings = live.settings(client=Meddling(live.s3, put_object=lambda _: live.put(KEY, picture(next(numbers)))))
    live.put(KEY, picture(99))
    with pytest.raises(Unsettled, match="replaced 5 times"):
        process(live.source, KEY, settings)


def test_two_at_the_same_time_agree(live):
    """Several threads, while the object changes between good and bad."""
    settings = live.settings()
    contents = [picture(1), b"a note", picture(2), b"another note"] * 3

    def run(data: bytes) -> None:
        live.put(KEY, data)
        process(live.source, KEY, settings)

    threads = [threading.Thread(target=run, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = live.s3.head_object(Bucket=live.source, Key=KEY)
    (key,) = live.keys(live.resized)
    assert key == (f"rejected/{KEY}.json" if found["ContentLength"] < 20 else f"{KEY}.png")
    assert live.s3.head_object(Bucket=live.resized, Key=key)["Metadata"]["source-etag"] == found["ETag"].strip('"')


def test_it_refuses_to_write_to_its_own_source(live):
    live.s3.put_object(Bucket=live.resized, Key="photos/a.png", Body=picture(1))
    settings = live.settings(deblurred=live.deblurred, deblur=unsharp())
    for bucket in (live.resized, live.deblurred):
        with pytest.raises(UserError, match="is written to"):
            process(bucket, "photos/a.png", settings)
    assert live.keys(live.resized) == {"photos/a.png"}
    with pytest.raises(UserError, match="name two buckets"):
        settings_of("one", "one", Path("model.onnx"), load())


def test_a_photo_too_large_is_not_even_fetched(live):
    settings = live.settings()
    limit = settings.clean.model_copy(update={"max_pixels": 1})
    read = []

    class Watched:
        def __init__(self, body):
            self.body = body

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.body.close()

        def read(self):
            read.append(1)
            return self.body.read()

    class Client(Meddling):
        def get_object(self, **arguments):
            found = self._client.get_object(**arguments)
            return {**found, "Body": Watched(found["Body"]), "ContentLength": 2**27}

    live.put(KEY, picture(1))
    outcome = process(live.source, KEY, live.settings(clean=limit, client=Client(live.s3)))
    assert (outcome.kind, outcome.reason, read) == ("rejected", "too large", [])


def test_a_connection_that_breaks_is_tried_again_and_given_up(live, monkeypatch):
    live.put(KEY, picture(1))
    errors = [ResponseStreamingError(error="cut"), EndpointConnectionError(endpoint_url="x")]

    def break_it(_):
        if errors:
            raise errors.pop()

    assert process(live.source, KEY, live.settings(client=Meddling(live.s3, put_object=break_it))).kind == "resized"
    errors += [EndpointConnectionError(endpoint_url="x")] * 50
    with pytest.raises(EndpointConnectionError):
        process(live.source, KEY, live.settings(revision="5" * 40, client=Meddling(live.s3, put_object=break_it)))


def test_a_missing_bucket_is_an_error(live):
    live.put(KEY, picture(1))
    with pytest.raises(ClientError, match="NoSuchBucket"):
        process("no-such-bucket", KEY, live.settings())
    with pytest.raises(ClientError, match="NoSuchBucket"):
        process(live.source, KEY, live.settings(resized="no-such-bucket"))


def test_a_message_with_several_objects_does_all_it_can(live, capsys):
    for name in ("a", "b"):
        live.put(f"photos/{name}.png", picture(1))
    records = [record for body in live.bodies() for record in json.loads(body)["Records"]]
    lost = json.loads(json.dumps(records[0]))
    lost["s3"]["bucket"]["name"] = "no-such-bucket"
    with pytest.raises(Failed):
        handle(json.dumps({"Records": [records[0], lost, records[1]]}), live.settings())
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["outcome"] for line in said] == ["resized", "failed", "resized"]
    assert live.keys(live.resized) == {"photos/a.png.png", "photos/b.png.png"}


def test_the_line_of_log(live, capsys):
    live.put(KEY, b"a note")
    handle(live.bodies()[0], live.settings())
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert said.pop("seconds") >= 0
    assert said == {
        "outcome": "rejected", "bucket": live.source, "key": KEY, "reason": "not an image", "bytes": 6,
        "etag": live.s3.head_object(Bucket=live.source, Key=KEY)["ETag"].strip('"'),
    }  # fmt: skip


def test_other_messages_of_s3(live):
    (message,) = live.sqs.receive_message(QueueUrl=live.queue)["Messages"]  # S3 tests the queue
    assert "s3:TestEvent" in message["Body"]
    assert arrivals(message["Body"]) == []
    removed = {
        "Records": [{"eventName": "ObjectRemoved:Delete", "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}]
    }
    assert arrivals(json.dumps(removed)) == []
    detail = {"bucket": {"name": "b"}, "object": {"key": "a+b%20c"}}
    bridge = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    assert arrivals(json.dumps(bridge)) == [Arrival("b", "a+b%20c")]
    assert arrivals(json.dumps({**bridge, "detail-type": "Object Deleted"})) == []
    assert arrivals(json.dumps({"Type": "Notification", "Message": json.dumps(bridge)})) == [Arrival("b", "a+b%20c")]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no recorded events")
def test_recorded_events():
    """Of AWS's own documentation and tools."""
    found = {}
    for path in sorted(SAMPLES.rglob("*.json")):
        try:
            event = json.loads(path.read_text())
        except ValueError:
            continue  # a template
        if "Sqs" in path.name:
            event = json.loads(event["Records"][0]["body"])
        try:
            found[path.name] = [arrival.key for arrival in arrivals(json.dumps(event))]
        except BadMessage:
            found[path.name] = None
    assert found["s3SqsEvent.json"] == ["test.pdf"]
    assert found["s3-event-with-decoded.json"] == found["s3EventDecodedKey.json"] == ["Happy Face.jpg"]
    assert found["s3EventBridgeNotificationObjectCreatedEvent.json"] == ["IMG_m7fzo3.jpg"]
    assert found["s3EventDeleteObject.json"] == found["S3Delete.json"] == []
    assert found["s3-batch-job-event-request-1.0.json"] is None
    assert len(found["s3Event.json"]) == 1


NAMES = ["Records", "source", "detail", "detail-type", "s3", "bucket", "object", "key", "name", "eventName"]
WORDS = ["Records", "aws.s3", "source", "ObjectCreated:Put", "Object Created"]
NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
)


@given(st.text() | NESTED.map(json.dumps))
def test_any_other_message_is_a_bad_one(body):
    try:
        found = arrivals(body)
    except BadMessage as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(arrival, Arrival) and arrival.key for arrival in found)


@given(st.lists(st.text(min_size=1, max_size=400).filter(lambda key: len(key.encode(errors="replace")) <= LONGEST),
                min_size=2, unique=True))  # fmt: skip
def test_no_two_objects_share_a_result(keys):
    keys = [key.encode(errors="ignore").decode() or "x" for key in keys]
    keys = [*dict.fromkeys(keys), "p" * 1020, "p" * 1021, "p" * 1024, "p" * 1010 + "ü" * 7]
    results = [make(key) for key in keys for make in (photo_key, rejection_key)]
    assert len(set(results)) == len(results)
    assert all(len(result.encode()) <= LONGEST for result in results)


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    found = settings_from({"DEBLURGAN_RESIZED": "r"})
    assert (found.resized, found.deblurred, found.deblur) == ("r", None, None)
    for environment, message in (
        ({}, "DEBLURGAN_RESIZED is not set"),
        ({"DEBLURGAN_RESIZED": "r", "DEBLURGAN_DEBLURRED": "d"}, "without DEBLURGAN_MODEL"),
        ({"DEBLURGAN_RESIZED": "r", "DEBLURGAN_MODEL": "m"}, "without DEBLURGAN_DEBLURRED"),
    ):
        with pytest.raises(UserError, match=message):
            settings_from(environment)


def test_the_revision_of_the_code(tmp_path):
    assert code_revision(tmp_path) == "unknown-dirty"
    repo = Repo(tmp_path / "repo", tmp_path)
    code = repo.root / "deblurgan/images.py"
    code.parent.mkdir(parents=True)
    code.write_text("A = 1\n")
    repo.git("init", "-q")
    repo.commit("Start")
    head = repo.git("rev-parse", "HEAD").strip()
    assert code_revision(repo.root) == head
    code.write_text("A = 2\n")
    assert code_revision(repo.root) == f"{head}-dirty"
    (repo.root / "REVISION").write_text("abc\n")  # of a package
    assert code_revision(repo.root) == "abc"
