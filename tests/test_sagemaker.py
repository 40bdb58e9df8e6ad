"""Trainings on SageMaker: requests, both machines, interruptions, and what comes back."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from aws import client, environment, moto, reset
from conftest import ROOT, contents, edit_params
from sagemaker_platform import Moment, Platform
from stage_deps import closure

import stages.train
from deblurgan import params
from deblurgan.errors import UserError
from deblurgan.images import write_png
from deblurgan.s3 import Unreachable, parse
from deblurgan.sagemaker import bundle, job, launch, naming, reporting, results, watching
from deblurgan.sagemaker.settings import FILE, read_settings

pytestmark = pytest.mark.xdist_group("sagemaker")
STORE = "s3://a-store/trainings"
SETTINGS = {
    "store": STORE,
    "role": "arn:aws:iam::123456789012:role/training",
    "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/deblurgan:1",
    "instance": "ml.g5.xlarge",
    "volume": 50,
    "hours": 24.0,
    "spot": True,
    "patience": 12.0,
}


@pytest.fixture(scope="module")
def endpoint():
    with moto() as address:
        yield address


@pytest.fixture
def repository(endpoint, workspace, monkeypatch):
    """A workspace with pairs and settings, and an empty bucket."""
    for name, value in environment(endpoint).items():
        monkeypatch.setenv(name, value)
    reset(endpoint)
    s3 = client("s3", endpoint)
    s3.create_bucket(Bucket="a-store")
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2)):
        for n in range(count):
            sharp = rng.integers(0, 256, (48, 56, 3), dtype=np.uint8)
            for kind, image in (("sharp", sharp), ("blur", sharp // 2)):
                write_png(workspace / f"data/resized/{split}/gopro/{split} ü/{kind}/{n}.png", image)
    edit_params(workspace, {"train": {"steps": 40, "validate_every": 2, "sample_at": [0, 1], "init_from": None}})
    write_settings()
    monkeypatch.setattr(watching, "POLL", 0.3)
    return s3


def write_settings(**changes) -> None:
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps({**SETTINGS, **changes}))


@pytest.fixture
def platform(endpoint, repository, tmp_path_factory, monkeypatch):
    """SageMaker, which runs what is submitted."""
    platform = Platform(endpoint, tmp_path_factory.mktemp("machines"))
    made = job.client

    def watched(service="s3"):
        found = made(service)
        if service == "sagemaker":
            event = "provide-client-params.sagemaker.CreateTrainingJob"
            found.meta.events.register(
                event, lambda params, **_: platform.requests.update({params["TrainingJobName"]: params})
            )
        return found

    monkeypatch.setattr(job, "client", watched)
    return platform


def train_there() -> None:
    launch.main(params.load(), stages.train.DATA, stages.train.OUTPUTS)


def outputs(folder: Path = Path()) -> dict[str, bytes]:
    """What DVC records."""
    found = contents(folder / "metrics/train")
    assert found
    return {
        **found,
        "model": (folder / "models/generator.keras").read_bytes(),
        "scores": (folder / "metrics/train.json").read_bytes(),
    }


def curves() -> dict[str, list[str]]:
    """Rows of all curves, by SageMaker's names."""
    paths = Path("metrics/train/plots/metrics").glob("*/*.tsv")
    return {f"{path.parent.name}:{path.stem}": path.read_text().splitlines() for path in paths}


def two_validations() -> Moment:
    """The moment at which a machine has written two checkpoints of its own."""
    seen: dict[Path, set[float]] = {}

    def moment(home: Path) -> bool:
        times = seen.setdefault(home, set())
        times.update(path.stat().st_mtime for path in home.glob("checkpoints/train/*/checkpoint.npz"))
        return len(times) > 2

    return moment


CANNED = {
    "models/generator.keras": b"a generator",
    "metrics/train.json": b"{}",
    "metrics/train/plots/metrics/val/psnr.tsv": b"step\tpsnr\n",
}


@pytest.mark.long
def test_a_training_there_that_is_interrupted_gives_what_one_here_gives(platform, monkeypatch, capsys):
    """Machines are taken away, once with notice and once without; then nothing is trained a second time."""
    monkeypatch.setattr(reporting, "PERIOD", 0.05)
    monkeypatch.setattr(watching, "POLL", 1)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "DEBLURGAN_CACHE": str(Path("here").absolute())}
    # a process of its own: the stage chooses TensorFlow's kernels, and other tests may have started it with others
    subprocess.run([sys.executable, "-m", "stages.train"], env=env, check=True)
    here = outputs()
    capsys.readouterr()
    for path in ("models/generator.keras", "metrics/train.json"):
        Path(path).unlink()
    monkeypatch.setenv("DEBLURGAN_TRAIN", "sagemaker")

    platform.interruptions = [(two_validations(), signal.SIGTERM), (two_validations(), signal.SIGKILL)]
    with platform.running():
        stages.train.main()
    assert outputs() == here
    assert platform.exits == [128 + signal.SIGTERM, -signal.SIGKILL, 0]
    assert len([line for line in platform.printed if line.startswith("going on after step")]) == 2
    steps = [int(found[1]) for line in platform.printed if (found := re.match(r"step=(\d+) ", line))]
    assert steps == sorted(steps)
    assert steps[-1] == 40
    shown = capsys.readouterr()
    assert "submitted deblurgan-" in shown.out
    assert "40/40" in shown.err
    assert "val_psnr" in shown.err

    (request,) = platform.requests.values()
    last = {
        metric["Name"]: float(re.findall(metric["Regex"], line)[-1])
        for line in platform.printed
        if line.startswith("step=40 ")
        for metric in request["AlgorithmSpecification"]["MetricDefinitions"]
        if re.findall(metric["Regex"], line)
    }
    best = {name: float(rows[-1].split()[1]) for name, rows in curves().items()}
    assert last == {name: pytest.approx(value) for name, value in best.items()}

    Path("models/generator.keras").unlink()
    stages.train.main()  # nothing serves jobs any more
    assert outputs() == here
    assert "has trained this already" in capsys.readouterr().out
    assert len(platform.requests) == 1


def test_the_job_is_what_sagemaker_needs(platform, repository):
    """Asked for through boto3, which checks it against the service's own model."""
    platform.canned = CANNED
    with platform.running():
        train_there()
    ((name, request),) = platform.requests.items()
    (kept,) = platform.jobs()
    assert kept.training_job_name == name
    assert kept.role_arn == SETTINGS["role"]
    assert kept.enable_managed_spot_training is True
    assert kept.stopping_condition == {"MaxRuntimeInSeconds": 86400, "MaxWaitTimeInSeconds": 129600}
    assert kept.resource_config == {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50}
    key = name.rpartition("-")[0]
    assert kept.checkpoint_config == {"S3Uri": f"{STORE}/{key}/checkpoints", "LocalPath": "/opt/ml/checkpoints"}
    assert kept.output_data_config == {"S3OutputPath": f"{STORE}/{key}/output"}
    assert [channel["ChannelName"] for channel in kept.input_data_config] == ["code", "run", "train", "val"]
    own = {"PYTHONPATH": "/opt/ml/input/data/code", "PYTHONSAFEPATH": "1", "KERAS_BACKEND": "tensorflow"}
    assert request["Environment"] == {**own, "TF_ENABLE_ONEDNN_OPTS": "1"}  # which the stage sets
    assert kept.hyper_parameters["train.steps"] == "40"
    assert len(kept.hyper_parameters) <= 100
    assert len(name) <= 63


def test_every_figure_of_a_training_has_a_pattern():
    """Those of dvclive's curves in this repository, and of losses that are off there."""
    curves = {f"{path.parent.name}/{path.stem}" for path in (ROOT / "metrics/train/plots/metrics").glob("*/*.tsv")}
    assert curves <= set(naming.METRICS)
    assert len(naming.METRICS) <= 40


def write_curve(folder: Path, rows: dict[int, float]) -> Path:
    path = folder / "plots/metrics/val/psnr.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["step\tpsnr", *(f"{step}\t{value}" for step, value in rows.items())]))
    return folder


def test_a_training_that_goes_on_repeats_no_line(tmp_path, capsys):
    """Unless the number of the last one has not come whole to the next machine."""
    curves, reported = write_curve(tmp_path / "curves", {2: 20.5, 4: 21.5}), tmp_path / "reported"
    reporting.Reporter(curves, reported).report(whole=True)
    assert capsys.readouterr().out == "step=2 val/psnr=20.5\nstep=4 val/psnr=21.5\n"
    write_curve(curves, {2: 20.5, 4: 21.5, 6: 22.5})
    with open(reported) as copied:  # as SageMaker does meanwhile
        reporting.Reporter(curves, reported).report(whole=True)
        assert copied.read() == "4"
    assert capsys.readouterr().out == "step=6 val/psnr=22.5\n"
    for damaged in (b"", b"\xff"):
        reported.write_bytes(damaged)
        reporting.Reporter(curves, reported).report(whole=True)
        assert capsys.readouterr().out.count("step=") == 3


@pytest.mark.long
def test_a_failure_there_is_one_line_here_and_the_next_run_goes_on(platform, repository, monkeypatch):
    edit_params(Path(), {"train": {"steps": 4}})
    made = bundle.channels

    def with_other_code(*arguments):
        code, *rest = made(*arguments)
        path = Path("losses.py")
        path.write_text((ROOT / "deblurgan/training/losses.py").read_text() + "\nOTHER = 1\n")
        return [bundle.Channel("code", {**code.files, "deblurgan/training/losses.py": path}), *rest]

    monkeypatch.setattr(bundle, "channels", with_other_code)
    with platform.running():
        with pytest.raises(
            UserError, match=r"is Failed \(AlgorithmError: this is the training \w+, and \w+ was"
        ) as error:
            train_there()
        assert "\n" not in str(error.value)
        monkeypatch.setattr(bundle, "channels", made)
        platform.canned = CANNED
        train_there()
    first, second = platform.requests
    assert second == first.removesuffix("-1") + "-2"
    assert Path("models/generator.keras").exists()


def test_what_is_there_is_not_uploaded_again(repository):
    store = parse(STORE, "store")
    p, files = bundle.local_files(params.load())
    first = bundle.upload(p, files, stages.train.DATA, store)
    objects = {one["Key"]: one["LastModified"] for one in repository.list_objects_v2(Bucket="a-store")["Contents"]}
    pairs = {
        f"train/{first['train'].key.rpartition('/')[2]}/gopro/train ü/{kind}/{n}.png"
        for kind in ("blur", "sharp")
        for n in range(3)
    }
    assert {f"trainings/{name}" for name in pairs} <= set(objects)
    (gone,) = (key for key in objects if key.endswith("train ü/blur/1.png"))
    repository.delete_object(Bucket="a-store", Key=gone)
    sent = []
    made = bundle._put
    bundle._put = lambda s3, path, target: (sent.append(target.key), made(s3, path, target))[1]
    try:
        assert bundle.upload(p, files, stages.train.DATA, store) == first
        assert sent == [gone]
        edit_params(Path(), {"train": {"learning_rate": 0.01}})
        second = bundle.upload(params.load(), files, stages.train.DATA, store)
    finally:
        bundle._put = made
    assert {name for name in first if first[name] != second[name]} == {"run"}


def test_files_that_parameters_name_travel_too(repository, tmp_path):
    """The generator to start from and VGG19's weights; the job's parameters name them where they are there."""
    weights = tmp_path / "some/where.npz"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    Path("g.keras").write_bytes(b"generator")
    edit_params(Path(), {"train": {"init_from": "g.keras", "lambda_content": 1, "vgg_weights": str(weights)}})
    p, files = bundle.local_files(params.load())
    assert files == {"start.keras": Path("g.keras"), "vgg19.npz": weights}
    (run,) = (one for one in bundle.channels(p, files, stages.train.DATA, tmp_path) if one.name == "run")
    there = params.load(run.files["params.yaml"])
    assert (there.train.init_from, there.train.vgg_weights) == ("start.keras", "vgg19.npz")
    assert there.model_copy(update={"train": p.train}) == p
    for name, path in files.items():
        Path(name).write_bytes(path.read_bytes())  # as the job has them
    assert naming.name_of(p, stages.train.DATA) == naming.name_of(there, stages.train.DATA)
    for path in ("g.keras", weights):
        before = naming.name_of(p, stages.train.DATA)
        Path(path).write_bytes(b"another")
        assert naming.name_of(p, stages.train.DATA) != before


def test_a_training_is_named_by_its_machine_where_bytes_matter(repository):
    p, settings = params.load(), read_settings()
    other = settings.model_copy(update={"instance": "ml.p4d.24xlarge"})
    assert job.key_of("name", p, settings) != job.key_of("name", p, other)
    free = p.model_copy(update={"train": p.train.model_copy(update={"deterministic": False})})
    assert job.key_of("name", free, settings) == job.key_of("name", free, other)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "stopped", "said"),
    [
        (Terminal("n\n"), True, "is being stopped: run it again, and it goes on from its last checkpoint"),
        (Terminal("\n"), False, "goes on, and costs: run it again to come back to it"),
        (Terminal(""), False, "goes on, and costs"),
        (io.StringIO("n\n"), False, "goes on, and costs"),
    ],
)
def test_ctrl_c_asks_whether_the_job_shall_go_on(repository, platform, monkeypatch, answer, stopped, said):
    def interrupted(*_):
        raise KeyboardInterrupt

    asked = []
    monkeypatch.setattr(launch, "wait", interrupted)
    monkeypatch.setattr(launch, "stop", lambda job: asked.append(job.name))
    monkeypatch.setattr(sys, "stdin", answer)
    with pytest.raises(UserError, match=said):
        train_there()
    assert asked == (list(platform.requests) if stopped else [])


def test_a_run_comes_back_to_the_job_that_is_under_way(platform, monkeypatch, capsys):
    platform.canned, platform.held = CANNED, True
    waited = launch.wait

    def interrupted(*_):
        raise KeyboardInterrupt

    def waiting(*arguments):
        platform.held = False
        return waited(*arguments)

    with platform.running():
        with monkeypatch.context() as patch:
            patch.setattr(launch, "wait", interrupted)
            with pytest.raises(UserError, match="goes on"):
                train_there()
        monkeypatch.setattr(launch, "wait", waiting)
        train_there()
    assert "coming back to deblurgan-" in capsys.readouterr().out
    assert len(platform.requests) == 1
    assert Path("models/generator.keras").exists()


def test_a_model_that_is_gone_from_the_bucket_is_trained_again(platform, repository, capsys):
    platform.canned = CANNED
    with platform.running():
        train_there()
        (kept,) = platform.jobs()
        address = parse(kept.model_artifacts["S3ModelArtifacts"], "model")
        repository.delete_object(Bucket=address.bucket, Key=address.key)
        train_there()
    assert "its model is no longer in the bucket" in capsys.readouterr().out
    assert len(platform.requests) == 2


def test_a_network_that_is_away_for_a_while_is_waited_for(repository, monkeypatch, capsys):
    started, ended = ({"TrainingJobStatus": s, "SecondaryStatus": s} for s in ("InProgress", "Completed"))
    answers = [started, Unreachable("away"), Unreachable("away"), ended]

    def described(*_):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(watching, "described", described)
    assert watching.wait(job.Job("j-1", 1, "InProgress"), 10)["TrainingJobStatus"] == "Completed"
    answers += [Unreachable("away")] * 3
    monkeypatch.setattr(watching, "PATIENCE", 0)
    with pytest.raises(UserError, match="away; j-1 goes on: run it again to come back to it"):
        watching.wait(job.Job("j-1", 1, "InProgress"), 10)


def archive(path: Path, members: dict[str, bytes], **links: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for name, target in links.items():
            entry = tarfile.TarInfo(f"metrics/train/plots/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return path


def test_nothing_but_outputs_leaves_an_archive(tmp_path):
    _, allowed = results.names_of(stages.train.OUTPUTS)
    wanted = {"./models/generator.keras": b"1", "metrics/train/plots/metrics/val/psnr.tsv": b"2"}
    others = {"metrics/train/plots/../../../../evil": b"3", "/etc/evil": b"4", "params.yaml": b"5"}
    path = archive(tmp_path / "a.tar.gz", {**wanted, **others}, link="/etc/passwd")
    results.unpack(path, tmp_path / "out", allowed)
    assert contents(tmp_path / "out") == {name.removeprefix("./"): content for name, content in wanted.items()}
    assert not (tmp_path / "evil").exists()
    whole = path.read_bytes()
    for damaged in (whole[:-40], whole[:-8] + bytes(8), whole[:40] + bytes([whole[40] ^ 255]) + whole[41:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.tar\.gz of the job is damaged"):
            results.unpack(path, tmp_path / "out", allowed)


def test_results_of_something_else_are_one_line_and_replace_nothing(repository):
    outputs = stages.train.OUTPUTS
    outputs.model.parent.mkdir()
    outputs.model.write_bytes(b"earlier")
    data = archive(Path("m.tar.gz"), {"metrics/train.json": b"{}"}).read_bytes()
    repository.put_object(Bucket="a-store", Key="m.tar.gz", Body=data)
    with pytest.raises(UserError, match=r"holds no models/generator\.keras: the job has run something else"):
        results.fetch({"ModelArtifacts": {"S3ModelArtifacts": "s3://a-store/m.tar.gz"}}, outputs)
    assert outputs.model.read_bytes() == b"earlier"
    assert not list(Path().glob(".sagemaker.*"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"instance": "g5.xlarge"}, r"deploy/sagemaker\.yaml: instance = 'g5\.xlarge'"),
        ({"role": "me"}, r"deploy/sagemaker\.yaml: role = 'me'"),
        ({"hours": 0}, r"deploy/sagemaker\.yaml: hours = 0"),
        ({"machine": 1}, r"deploy/sagemaker\.yaml: machine = 1: extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_one_line(repository, change, said):
    write_settings(**change)
    with pytest.raises(UserError, match=said):
        train_there()


def test_the_settings_that_come_with_the_project_ask_for_your_own(repository, monkeypatch):
    with pytest.raises(UserError, match=r"sagemaker\.yaml: role = 'arn:aws:iam::ACCOUNT:role"):
        read_settings(ROOT / FILE)
    monkeypatch.setenv("DEBLURGAN_TRAIN", "elsewhere")
    with pytest.raises(UserError, match="DEBLURGAN_TRAIN = 'elsewhere': it can be sagemaker, or not be set"):
        stages.train.main()


def test_where_a_training_runs_is_no_code_of_the_stage():
    assert not [path for path in closure("stages.train") if "sagemaker" in path or "s3" in path]
