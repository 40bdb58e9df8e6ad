"""Photos of a bucket become data of the pipeline, and deblurred photos go to one."""

import contextlib
import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from aws import client, environment, moto, permissions_checked, reset
from conftest import ROOT, Repo, contents, edit_params
from hypothesis import given
from hypothesis import strategies as st
from live import Live, picture
from ruamel.yaml import YAML
from servers import jpeg

import stages.fetch_unsplash
import stages.ingest_gopro
from deblurgan import s3 as s3_module
from deblurgan.dumps import command, mirror
from deblurgan.dumps.mirror import opened, path_of, place
from deblurgan.dumps.tables import PAIRS, PHOTOS, Registered, below, read_table, write_table
from deblurgan.errors import UserError
from deblurgan.s3 import Address, parse

pytestmark = pytest.mark.xdist_group("dumps")
BUCKET = "arrived"
SOURCE = f"s3://{BUCKET}/photos"
ODD = "blurred/Straße +1 & a b.jpg"


@pytest.fixture(scope="module")
def endpoint():
    with moto() as address:
        yield address


@pytest.fixture
def s3(endpoint, workspace, monkeypatch):
    """A workspace with tables that are empty, and a bucket that keeps versions."""
    for name, value in environment(endpoint).items():
        monkeypatch.setenv(name, value)
    for listing in (PHOTOS, PAIRS):
        write_table(listing, [])
    reset(endpoint)
    s3 = client("s3", endpoint)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return s3


def put(s3, *names: str, content: bytes | None = None, bucket: str = BUCKET) -> None:
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=jpeg(name) if content is None else content)


def requested(s3, monkeypatch) -> list[str]:
    """Names of the operations that the library's clients send from now on."""
    sent: list[str] = []
    made = mirror.client

    def watched(*arguments):
        found = made(*arguments)
        found.meta.events.register("before-send.s3", lambda request, **_: sent.append(request.method))
        return found

    monkeypatch.setattr(mirror, "client", watched)
    return sent


def dumps(*arguments: str) -> None:
    command.main(list(arguments))


def test_what_arrived_becomes_data(s3, capsys):
    put(s3, "photos/sharp/a.jpg", f"photos/{ODD}", "photos/sharp/walk/1.JPG", "elsewhere/sharp/b.jpg")
    put(s3, "photos/blurred/IMG_0001.HEIC")
    put(s3, "photos/", "photos/sharp/notes.txt", "photos/lost.jpg", "photos/sharp/.hidden.jpg", content=b"")
    edit_params(Path(), {"fetch_unsplash": {"source": SOURCE}})
    dumps("pull")
    printed = capsys.readouterr().out
    assert f"{SOURCE}: 4 new, 0 changed, 0 as before: dumps/photos.csv" in printed
    assert sorted(re.findall(r"left out (\S+)", printed)) == [
        f"{SOURCE}/{name}" for name in ("lost.jpg", "sharp/.hidden.jpg", "sharp/notes.txt")
    ]
    stages.fetch_unsplash.main()
    photos = contents("data/source/unsplash")
    table = photos.pop("photos.csv").decode()
    assert photos == {
        "sharp/a.jpg": jpeg("photos/sharp/a.jpg"),
        "blurred/Straße +1 & a b.jpg": jpeg(f"photos/{ODD}"),
        "sharp/walk-1.jpg": jpeg("photos/sharp/walk/1.JPG"),
        "blurred/IMG_0001.heic": jpeg("photos/blurred/IMG_0001.HEIC"),
    }
    assert [row["id"] for row in csv.DictReader(table.splitlines())] == ["a", "walk-1", "IMG_0001", "Straße +1 & a b"]
    assert not list(place().glob("folder-*"))


def test_only_what_is_new_is_brought(s3, monkeypatch, capsys):
    put(s3, "photos/sharp/a.jpg", "photos/sharp/b.jpg")
    dumps("pull", "--photos", SOURCE)
    first = read_table(PHOTOS)
    sent = requested(s3, monkeypatch)
    dumps("pull", "--photos", SOURCE)
    assert sent == []
    assert read_table(PHOTOS) == first
    put(s3, "photos/sharp/c.jpg")
    put(s3, "photos/sharp/b.jpg", content=jpeg("another"))
    dumps("pull", "--photos", SOURCE)
    assert sent == ["GET", "GET"]
    assert "1 new, 1 changed, 1 as before" in capsys.readouterr().out
    second = read_table(PHOTOS)
    name = f"{SOURCE}/sharp/b.jpg"
    assert second[name].sha256 == hashlib.sha256(jpeg("another")).hexdigest()
    assert second[name].version != first[name].version != ""


def test_another_machine_gets_the_registered_versions(s3, monkeypatch):
    """Whatever the bucket holds by then; without the network once they are there."""
    put(s3, "photos/sharp/a.jpg", "photos/sharp/b.jpg")
    edit_params(Path(), {"fetch_unsplash": {"source": SOURCE}})
    dumps("pull")
    put(s3, "photos/sharp/a.jpg", content=jpeg("another"))
    s3.delete_object(Bucket=BUCKET, Key="photos/sharp/b.jpg")
    monkeypatch.setenv("DEBLURGAN_CACHE", str(Path("another").absolute()))
    stages.fetch_unsplash.main()
    here = contents("data/source/unsplash")
    assert here["sharp/a.jpg"] == jpeg("photos/sharp/a.jpg")
    assert here["sharp/b.jpg"] == jpeg("photos/sharp/b.jpg")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    stages.fetch_unsplash.main()
    assert contents("data/source/unsplash") == here


def test_a_version_that_has_expired_is_taken_from_what_is_the_same(s3, monkeypatch):
    put(s3, "photos/sharp/a.jpg")
    edit_params(Path(), {"fetch_unsplash": {"source": SOURCE}})
    dumps("pull")
    (row,) = read_table(PHOTOS).values()
    put(s3, "photos/sharp/a.jpg")
    s3.delete_object(Bucket=BUCKET, Key="photos/sharp/a.jpg", VersionId=row.version)
    monkeypatch.setenv("DEBLURGAN_CACHE", str(Path("another").absolute()))
    stages.fetch_unsplash.main()
    assert contents("data/source/unsplash/sharp") == {"a.jpg": jpeg("photos/sharp/a.jpg")}
    put(s3, "photos/sharp/a.jpg", content=jpeg("another"))
    monkeypatch.setenv("DEBLURGAN_CACHE", str(Path("a third").absolute()))
    with pytest.raises(UserError, match=r"a\.jpg is gone, or no longer what was registered"):
        stages.fetch_unsplash.main()


@contextlib.contextmanager
def reader(endpoint: str, monkeypatch) -> Iterator[None]:
    """Be a user that may list buckets and read objects, and no more."""
    iam = client("iam", endpoint)
    iam.create_user(UserName="reader")
    allowed = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="reading", PolicyDocument=policy)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    with permissions_checked(endpoint):
        yield


def test_who_may_read_objects_and_no_versions_gets_what_is_the_same(s3, endpoint, monkeypatch):
    put(s3, "photos/sharp/a.jpg")
    edit_params(Path(), {"fetch_unsplash": {"source": SOURCE}})
    with reader(endpoint, monkeypatch):
        dumps("pull")
        (row,) = read_table(PHOTOS).values()
        assert row.version
        monkeypatch.setenv("DEBLURGAN_CACHE", str(Path("another").absolute()))
        stages.fetch_unsplash.main()
    assert contents("data/source/unsplash/sharp") == {"a.jpg": jpeg("photos/sharp/a.jpg")}


def test_an_object_that_is_gone_is_one_line(s3, monkeypatch):
    s3.create_bucket(Bucket="plain")
    put(s3, "photos/sharp/a.jpg", bucket="plain")
    dumps("pull", "--photos", "s3://plain/photos")
    monkeypatch.setenv("DEBLURGAN_CACHE", str(Path("another").absolute()))
    put(s3, "photos/sharp/a.jpg", content=jpeg("another"), bucket="plain")
    with (
        pytest.raises(UserError, match=r"a\.jpg is gone, or no longer what was registered"),
        opened("s3://plain/photos", PHOTOS),
    ):
        pass


def test_an_archived_object_is_named_and_keeps_no_other_out(s3, capsys):
    put(s3, "photos/sharp/a.jpg", "photos/sharp/c.jpg")
    archived = {"Bucket": BUCKET, "Key": "photos/sharp/b.jpg"}
    s3.put_object(**archived, Body=jpeg("b"), StorageClass="GLACIER")
    edit_params(Path(), {"fetch_unsplash": {"source": SOURCE}})
    dumps("pull")
    printed = capsys.readouterr().out
    assert f"left out {SOURCE}/sharp/b.jpg: the object is archived: restore it" in printed
    assert "2 new, 0 changed, 0 as before" in printed
    s3.restore_object(**archived, RestoreRequest={"Days": 1})
    dumps("pull")
    assert "1 new, 0 changed, 2 as before" in capsys.readouterr().out
    s3.put_object(Bucket=BUCKET, Key="photos/sharp/a.jpg", Body=jpeg("photos/sharp/a.jpg"), StorageClass="DEEP_ARCHIVE")
    dumps("pull")
    assert "0 new, 0 changed, 3 as before" in capsys.readouterr().out


def test_nothing_is_forgotten_unless_asked(s3, capsys):
    put(s3, "photos/sharp/a.jpg", "photos/sharp/b.jpg", "other/sharp/c.jpg")
    dumps("pull", "--photos", SOURCE)
    dumps("pull", "--photos", f"s3://{BUCKET}/other")
    s3.delete_object(Bucket=BUCKET, Key="photos/sharp/b.jpg")
    dumps("pull", "--photos", SOURCE)
    assert "1 registered before are no longer in the bucket; --forget takes them" in capsys.readouterr().out
    assert len(read_table(PHOTOS)) == 3
    dumps("pull", "--photos", SOURCE, "--forget")
    assert list(read_table(PHOTOS)) == [f"s3://{BUCKET}/other/sharp/c.jpg", f"{SOURCE}/sharp/a.jpg"]
    s3.delete_object(Bucket=BUCKET, Key="photos/sharp/a.jpg")
    dumps("pull", "--photos", SOURCE, "--forget")
    assert list(read_table(PHOTOS)) == [f"s3://{BUCKET}/other/sharp/c.jpg"]


def test_pairs_come_from_a_bucket(s3, capsys):
    for kind in ("blur", "sharp"):
        put(s3, *(f"gopro/train/street/{kind}/{n}.jpg" for n in (1, 2)))
    put(s3, "gopro/train/street/other.jpg")
    source = f"s3://{BUCKET}/gopro"
    edit_params(Path(), {"ingest_gopro": {"source": source, "dataset": "mine", "blur": "blur"}})
    dumps("pull")
    stages.ingest_gopro.main()
    printed = capsys.readouterr().out
    assert f"4 images of pairs in 1 scenes of {source}, called mine" in printed
    assert f"{source}: train/street/other.jpg belongs to no pair" in printed
    assert sorted(contents("data/source/pairs")) == [
        f"mine/train/street/{kind}/{n}.jpg" for kind in ("blur", "sharp") for n in (1, 2)
    ]


def test_a_zip_is_one_object(s3, monkeypatch):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for kind in ("blur", "sharp"):
            archive.writestr(f"street/{kind}/1.jpg", jpeg(kind))
    put(s3, "a.zip", content=data.getvalue())
    put(s3, "a.zip.old", content=b"")
    edit_params(Path(), {"ingest_gopro": {"source": f"s3://{BUCKET}/a.zip", "dataset": "mine", "blur": "blur"}})
    dumps("pull")
    stages.ingest_gopro.main()
    assert contents("data/source/pairs") == {
        f"mine/unsplit/street/{kind}/1.jpg": jpeg(kind) for kind in ("blur", "sharp")
    }


def test_a_download_that_broke_off_goes_on(s3, monkeypatch):
    content = bytes(range(256)) * 4096
    put(s3, "photos/sharp/a.jpg", content=content)
    etag = s3.head_object(Bucket=BUCKET, Key="photos/sharp/a.jpg")["ETag"]
    part = path_of(Registered(f"{SOURCE}/sharp/a.jpg", etag, "", len(content), ""))
    part = part.with_name(f"{part.name}.part")
    part.parent.mkdir()
    part.write_bytes(content[:1000])
    asked = []
    made = mirror.client

    def watched(*arguments):
        found = made(*arguments)
        found.meta.events.register("before-send.s3", lambda request, **_: asked.append(request.headers.get("Range")))
        return found

    monkeypatch.setattr(mirror, "client", watched)
    dumps("pull", "--photos", SOURCE)
    assert asked == [b"bytes=1000-"]
    (row,) = read_table(PHOTOS).values()
    assert row.sha256 == hashlib.sha256(content).hexdigest()
    assert not part.exists()


def test_a_damaged_object_on_this_machine_is_brought_anew(s3, capsys):
    put(s3, "photos/sharp/a.jpg")
    edit_params(Path(), {"fetch_unsplash": {"source": SOURCE}})
    dumps("pull")
    (row,) = read_table(PHOTOS).values()
    path_of(row).write_bytes(b"x" * row.size)
    stages.fetch_unsplash.main()
    assert contents("data/source/unsplash/sharp") == {"a.jpg": jpeg("photos/sharp/a.jpg")}


KILLS = 6


@pytest.mark.long
def test_a_pull_that_is_killed_loses_nothing_and_brings_nothing_twice(s3, monkeypatch):
    names = [f"photos/sharp/{n:03d}.jpg" for n in range(150)]
    put(s3, *names)
    command_line = [sys.executable, "-m", "deblurgan", "dumps", "pull", "--photos", SOURCE]
    env = {**environment(os.environ["AWS_ENDPOINT_URL"])}
    killed = 0
    for n in range(KILLS):
        process = subprocess.Popen(
            command_line, env={**os.environ, **env, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
        )
        enough = (n + 1) * len(names) // (KILLS + 2)
        while process.poll() is None and len(whole()) < enough:
            time.sleep(0.02)
        killed += process.poll() is None
        process.kill()
        process.wait()
        assert read_table(PHOTOS) == {} or process.returncode == 0
    assert killed
    there = len(whole())
    sent = requested(s3, monkeypatch)
    dumps("pull", "--photos", SOURCE)
    assert sent.count("GET") == len(names) - there
    rows = read_table(PHOTOS)
    assert {row.sha256 for row in rows.values()} == {hashlib.sha256(jpeg(name)).hexdigest() for name in names}
    assert all(row.version for row in rows.values())
    assert len(whole()) == len(names)


def whole() -> list[Path]:
    """Objects that are on this machine."""
    return [path for path in place().glob("??/*") if not path.suffix]


def test_push_publishes_readable_names_and_never_deletes(s3, capsys):
    folder = Path("data/deblurred")
    (folder / "nested").mkdir(parents=True)
    for name in ("a.jpg", "nested/ä b.jpg", "c.jpg"):
        (folder / name).write_bytes(jpeg(name))
    target = f"s3://{BUCKET}/results"
    put(s3, "results/older.jpg")
    dumps("push", target)
    assert f"{target}: 3 new, 0 changed, 0 as before" in capsys.readouterr().out
    answer = s3.get_object(Bucket=BUCKET, Key="results/nested/ä b.jpg")
    assert answer["Body"].read() == jpeg("nested/ä b.jpg")
    assert answer["ContentType"] == "image/jpeg"
    assert answer["Metadata"]["sha256"] == hashlib.sha256(jpeg("nested/ä b.jpg")).hexdigest()
    (folder / "a.jpg").write_bytes(jpeg("another"))
    (folder / "c.jpg").unlink()
    dumps("push", target)
    assert f"{target}: 0 new, 1 changed, 1 as before" in capsys.readouterr().out
    keys = {one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert keys == {f"results/{name}" for name in ("a.jpg", "nested/ä b.jpg", "c.jpg", "older.jpg")}


def test_an_object_without_an_md5_is_compared_by_its_sha256(s3, capsys):
    """As under KMS, and where it came in parts."""
    folder = Path("data/deblurred")
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"x" * (5 << 20) + b"y")
    upload = s3.create_multipart_upload(
        Bucket=BUCKET, Key="a.png", Metadata={"sha256": hashlib.sha256((folder / "a.png").read_bytes()).hexdigest()}
    )
    common = {"Bucket": BUCKET, "Key": "a.png", "UploadId": upload["UploadId"]}
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**common, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate((b"x" * (5 << 20), b"y"), 1)
    ]
    s3.complete_multipart_upload(**common, MultipartUpload={"Parts": parts})
    dumps("push", f"s3://{BUCKET}")
    assert "0 new, 0 changed, 1 as before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pull"], r"neither fetch_unsplash\.source nor ingest_gopro\.source in params\.yaml is s3://bucket/prefix"),
        (["pull", "--photos", "bucket/x"], r"--photos: 'bucket/x' is no address of S3: write s3://bucket/prefix"),
        (["pull", "--photos", "s3://arrived/../x"], "is no address of S3"),
        (["pull", "--photos", "s3://nowhere/x"], r"s3://nowhere/x: there is no such bucket"),
        (["pull", "--photos", SOURCE], r"s3://arrived/photos: no object can be data: put sharp photos below s3://arri"),
        (["pull", "--pairs", "s3://arrived/a.zip"], r"s3://arrived/a\.zip: no object can be data"),
        (["push", "s3://arrived"], r"data/deblurred is missing"),
    ],
)
def test_what_cannot_be_is_one_line(s3, arguments, said):
    with pytest.raises(UserError, match=said) as caught:
        dumps(*arguments)
    assert "\n" not in str(caught.value)


def test_what_is_not_registered_is_one_line(s3):
    put(s3, "photos/sharp/a.jpg")
    edit_params(Path(), {"fetch_unsplash": {"source": SOURCE}})
    with pytest.raises(UserError, match=r"no object is registered in dumps/photos\.csv: run `python -m deblurgan dump"):
        stages.fetch_unsplash.main()
    PHOTOS.write_text("object,etag\nx,y\n")
    with pytest.raises(UserError, match=r"dumps/photos\.csv is damaged .*: `git checkout dumps/photos\.csv`"):
        stages.fetch_unsplash.main()


def test_missing_credentials_and_a_dead_server_are_one_line(s3, monkeypatch):
    monkeypatch.setattr(s3_module, "TRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(
        UserError, match=r'arrived/photos: Could not connect to the endpoint URL: "http://127\.0\.0\.1:9'
    ):
        dumps("pull", "--photos", SOURCE)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UserError, match="no credentials are known: set AWS_PROFILE"):
        dumps("pull", "--photos", SOURCE)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000", r"Invalid endpoint: 127\.0\.0\.1:9000: check AWS_ENDPOINT_URL"),
        ("AWS_PROFILE", "nope", r"The config profile \(nope\) could not be found"),
        ("AWS_DEFAULT_REGION", "eu central 1", r"Provided region_name 'eu central 1' doesn't match"),
        ("AWS_CONFIG_FILE", "broken", r"Unable to parse config file: .*broken"),
    ],
)
def test_settings_of_aws_that_cannot_be_are_one_line(s3, monkeypatch, name, value, said):
    Path("broken").write_text("[default\n")
    Path("data/deblurred").mkdir(parents=True)
    monkeypatch.setenv(name, value)
    for arguments in (("pull", "--photos", SOURCE), ("push", SOURCE)):
        with pytest.raises(UserError, match=rf"^AWS \(s3\): {said}") as caught:
            dumps(*arguments)
        assert "\n" not in str(caught.value)


def test_a_disk_that_is_too_small_is_one_line(s3, monkeypatch):
    put(s3, "photos/sharp/a.jpg")
    monkeypatch.setattr(mirror.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(
        UserError, match=r"are to be brought, and .* has 0\.0 GB left: free some, or set DEBLURGAN_CACH"
    ):
        dumps("pull", "--photos", SOURCE)
    assert read_table(PHOTOS) == {}


parts = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(
    st.lists(st.tuples(st.lists(parts, min_size=1, max_size=3), st.integers(0, 10**12)), unique_by=lambda x: str(x[0]))
)
def test_a_table_holds_whatever_names_there_are(tmp_path_factory, objects):
    rows = [Registered(f"s3://b/{'/'.join(name)}", '"e"', "", size, "0" * 64) for name, size in objects]
    rows = list({row.object: row for row in rows}.values())
    path = tmp_path_factory.mktemp("table") / "t.csv"
    write_table(path, rows)
    found = read_table(path)
    assert found == {row.object: row for row in rows}
    assert {f"s3://b/{name}" for name in below(found, Address("b", ""))} == set(found)


@given(
    st.text("abc-.0", min_size=3, max_size=10).filter(lambda t: t[0] in "abc"), st.lists(st.text("ab c+ü", min_size=1))
)
def test_addresses_are_read_as_they_are_written(bucket, names):
    address = Address(bucket, "/".join(names))
    assert parse(str(address), "x") == address
    assert parse(f"{address}/", "x") == address


@pytest.mark.long
def test_what_arrives_is_deblurred_at_once_and_becomes_data(finished: Repo, s3, endpoint, tmp_path):
    """Bucket, queue, worker; `dumps pull`, the stages that are concerned, with the worker's results; `dumps push`."""
    repo, live = finished.copy(tmp_path / "repo"), Live(endpoint).create()
    env = {**environment(endpoint), "DEBLURGAN_RESIZED": live.resized}

    def run(*arguments: str) -> str:
        return repo.run(sys.executable, "-m", "deblurgan", *arguments, env=env)

    edit_params(repo.root, {"fetch_unsplash": {"source": f"s3://{live.source}/photos"}})
    repo.commit("Our photos")
    arrived = {ODD: picture(1, "JPEG", (300, 200)), "blurred/b.png": picture(2), "sharp/a.jpg": picture(3, "JPEG")}
    for name, data in {**arrived, "blurred/note.jpg": b"a note"}.items():
        live.put(f"photos/{name}", data)
    model = ("--deblurred", live.deblurred, "--model", "models/generator.onnx")
    said = run("events", "--queue", live.queue, "--once", *model)
    assert json.loads(said.splitlines()[-1]) == {"outcome": "ended", "rejected": 1, "resized": 3}
    assert live.waiting(live.queue) == live.waiting(live.dead) == 0

    run("dumps", "pull")
    assert "Stage 'ingest_gopro' didn't change" in repo.dvc("repro", "resize", env=env)
    lock = YAML(typ="safe").load(repo.root / "dvc.lock")["stages"]
    (dep,) = (dep for dep in lock["fetch_unsplash"]["deps"] if dep["path"] == str(PHOTOS))
    assert dep["md5"] == hashlib.md5((repo.root / PHOTOS).read_bytes()).hexdigest()
    taken = contents(repo.root / "data/source/unsplash")
    assert {name: taken[name] for name in arrived} == arrived
    made, trained = (
        next(file["md5"] for file in lock[stage][kind] if file["path"] == "data/resized/train")
        for stage, kind in (("resize", "outs"), ("train", "deps"))
    )
    assert made != trained  # the next training takes them
    assert (repo.root / "data/resized/train/unsplash/a/sharp").is_dir()
    repo.dvc("repro", "--single-item", "deblur", env=env)  # by the generator that the worker had

    names = {PurePosixPath(name).with_suffix(".png").name: f"photos/{name}.png" for name in (ODD, "blurred/b.png")}
    for folder, bucket in (("data/resized/unpaired", live.resized), ("data/deblurred", live.deblurred)):
        assert contents(repo.root / folder) == {name: live.read(bucket, key) for name, key in names.items()}
    metadata = live.s3.head_object(Bucket=live.deblurred, Key=names["b.png"])["Metadata"]
    assert metadata["code-revision"] == repo.git("rev-parse", "HEAD").strip()
    with open(repo.root / "data/clean/rejected.csv", newline="") as stream:
        reasons = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(stream)}
    report = json.loads(live.read(live.resized, "rejected/photos/blurred/note.jpg.json"))
    assert reasons == {"note.jpg": report["reason"]}
    run("dumps", "push", f"s3://{BUCKET}/deblurred")
    assert live.contents(BUCKET) == {f"deblurred/{name}": live.read(live.deblurred, key) for name, key in names.items()}
