"""The live edge on AWS Lambda: the handler under AWS's own runtime client, the template, what is in the package."""

import ast
import contextlib
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml
from aws import KEYS, environment, moto
from botocore.exceptions import ClientError
from conftest import ROOT, edit_params
from live import Live, picture

from benchmarks.lambda_runtime import Function

HANDLER = "deblurgan.events.aws_lambda.handler"
AWS = ROOT / ".venv-aws/bin"
"""The environment of what checks the template; `make .venv-aws/.installed` makes it."""
needs_aws = pytest.mark.skipif(not (AWS / "cfn-lint").exists(), reason="make .venv-aws/.installed")


def message(number: int, body: str) -> dict:
    return {"messageId": f"m{number}", "body": body, "eventSource": "aws:sqs"}


@pytest.fixture
def package(workspace):
    """A folder as `make lambda` fills it, without the libraries."""
    edit_params(workspace, {"resize": {"width": 64, "height": 64}})
    (workspace / "deblurgan").symlink_to(ROOT / "deblurgan")
    (workspace / "REVISION").write_text("1" * 40)
    return workspace


def test_a_batch_fails_in_part(package):
    """What is done is done, what is poison or cannot be reached comes again."""
    with moto() as address:
        live = Live(address).create()
        for i in range(2):
            live.put(f"photos/{i}.png", picture(i))
        good = live.bodies()
        lost = json.loads(good[0])
        lost["Records"][0]["s3"]["bucket"]["name"] = "nowhere"
        bodies = [good[0], "poison", json.dumps(lost), good[1], '{"Event": "s3:TestEvent"}']
        event = {"Records": [message(i, body) for i, body in enumerate(bodies)]}
        variables = {**environment(address), "DEBLURGAN_RESIZED": live.resized}
        with Function(HANDLER, package, variables) as function:
            for _ in range(2):
                kind, answer = function.call(event)
                assert kind == "response"
                assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]}
        assert live.keys(live.resized) == {"photos/0.png.png", "photos/1.png.png"}


def test_a_function_that_is_not_set_up_says_so(package):
    with Function(HANDLER, package, KEYS) as function:
        path, answer = function._api.answers.get(timeout=60)
    assert path == "/init/error"
    assert "DEBLURGAN_RESIZED is not set" in answer["errorMessage"]


def test_the_handler_imports_nothing_large():
    """Nothing of TensorFlow, Keras, SciPy, DVC: what is not the handler's own is in requirements-lambda.txt."""
    module = HANDLER.rpartition(".")[0]
    script = f"import sys, {module}, pillow_heif; print(*{{name.split('.')[0] for name in sys.modules}})"
    variables = {**KEYS, "DEBLURGAN_RESIZED": "x", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"PIL", "numpy", "pydantic", "yaml"} <= loaded
    installed = importlib.metadata.packages_distributions()
    theirs = {name.lower().replace("_", "-") for module in loaded - {"deblurgan"} for name in installed.get(module, ())}
    of_lambda = {"boto3", "botocore", "s3transfer", "urllib3", "python-dateutil", "jmespath", "six"}
    used_where_they_are = {"brotli", "certifi", "setuptools"}  # urllib3, botocore and Python look for them
    assert theirs - of_lambda - used_where_they_are <= set(versions("requirements-lambda.txt"))


def versions(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z][\w.-]*)==(\S+)", (ROOT / name).read_text(), flags=re.MULTILINE))


def imported(path: Path) -> set[str]:
    """Packages that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in names}


def test_what_is_imported_is_required():
    """By the pipeline or by one of the extras: packages that only the tests need are not there for others."""
    required = set().union(*(versions(f"requirements{extra}.txt") for extra in ("", "-app", "-dask", "-jax")))
    installed = importlib.metadata.packages_distributions()
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("deblurgan", "stages")
        for path in (ROOT / folder).rglob("*.py")
        for name in imported(path) - sys.stdlib_module_names - {"deblurgan", "stages"}
        if not {re.sub(r"[-_.]+", "-", found).lower() for found in installed[name]} & required
    }
    assert not missing


def test_the_package_has_the_pipelines_versions():
    """But for what the pipeline does without."""
    pipeline = versions("requirements.txt")
    for name, version in versions("requirements-lambda.txt").items():
        assert pipeline.get(name, version) == version, name


@needs_aws
def test_the_template_has_no_errors():
    done = subprocess.run([AWS / "cfn-lint", ROOT / "deploy/template.yaml"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.long
@needs_aws
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("DEBLURGAN_RESIZED: !Ref ResizedBucket", "DEBLURGAN_RESIZED: !Ref NoBucket"),
        ("FunctionResponseTypes: [ReportBatchItemFailures]", "FunctionResponseTypes: [Report]"),
        ("BatchSize: 1 ", "BatchSize: 100000 "),
    ],
)
def test_what_looks_at_the_template_sees_mistakes(tmp_path, right, wrong):
    text = (ROOT / "deploy/template.yaml").read_text()
    assert right in text
    (tmp_path / "template.yaml").write_text(text.replace(right, wrong))
    assert subprocess.run([AWS / "cfn-lint", tmp_path / "template.yaml"], capture_output=True).returncode


class _Loader(yaml.SafeLoader):
    """YAML of CloudFormation, with its short functions."""


_Loader.add_multi_constructor("!", lambda loader, tag, node: {tag: node.value})
TEMPLATE = yaml.load((ROOT / "deploy/template.yaml").read_text(), _Loader)["Resources"]


def test_the_template_leaves_time_for_all_tries():
    """AWS: a queue hides a message for at least six times the function's time."""
    function, queue = TEMPLATE["Function"]["Properties"], TEMPLATE["Arrivals"]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert function["Handler"] == HANDLER


def test_buckets_are_private_encrypted_versioned_and_kept():
    buckets = [resource for resource in TEMPLATE.values() if resource["Type"] == "AWS::S3::Bucket"]
    assert len(buckets) == 3
    for bucket in buckets:
        properties = bucket["Properties"]
        assert len(properties["PublicAccessBlockConfiguration"]) == 4
        assert all(properties["PublicAccessBlockConfiguration"].values())
        assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
        assert properties["BucketEncryption"]
        assert bucket["DeletionPolicy"] == "RetainExceptOnCreate"
        assert bucket["UpdateReplacePolicy"] == "Retain"


@pytest.fixture
def stack():
    """The stack of the template in moto's CloudFormation."""
    process = subprocess.Popen(
        [AWS / "python", ROOT / "tests/aws_stack.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield json.loads(next(line for line in process.stdout if line.startswith("{")))
    process.stdin.close()
    process.wait(60)


@needs_aws
def test_the_shipped_template_carries_photos(stack, package):
    """A photo into its source bucket: its queue is told, and with its policies alone a worker makes the results."""
    names = {name: stack["outputs"][name].split("/")[2] for name in ("Source", "Resized", "Deblurred")}
    assert set(names.values()) == {"mine-source", "mine-resized", "mine-deblurred"}
    live = Live(stack["address"], names["Source"], names["Resized"], names["Deblurred"], stack["outputs"]["Queue"])
    live.s3, live.sqs, iam = live.client("s3"), live.client("sqs"), live.client("iam")
    iam.create_user(UserName="worker")
    for policy in stack["outputs"]["WorkerPolicies"].split():
        iam.attach_user_policy(UserName="worker", PolicyArn=policy)
    heads = [{"Effect": "Allow", "Action": ["s3:HeadBucket", "s3:HeadObject"], "Resource": "*"}]  # AWS: List, Get
    document = json.dumps({"Version": "2012-10-17", "Statement": heads})
    iam.put_user_policy(UserName="worker", PolicyName="names-of-moto", PolicyDocument=document)
    keys = iam.create_access_key(UserName="worker")["AccessKey"]
    live.put("photos/a b+ü.png", picture(1))
    live.put("photos/note.jpg", b"a note")
    live.put("other/b.png", picture(2))  # of which nobody asked to be told
    with enforced(stack["address"]):
        theirs = {"AWS_ACCESS_KEY_ID": keys["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"]}
        process = live.worker("--once", cwd=package, **theirs)
        said, errors = process.finish()
        theirs = live.client("s3", keys["AccessKeyId"], keys["SecretAccessKey"])
        for bucket, key in ((live.source, "other/b.png"), (live.resized, "elsewhere.png")):
            with pytest.raises(ClientError, match="AccessDenied"):
                theirs.get_object(Bucket=bucket, Key=key)
        with pytest.raises(ClientError, match="AccessDenied"):
            theirs.put_object(Bucket=live.source, Key="photos/c.png", Body=b"")
    assert errors == ""
    assert said[-1] == {"outcome": "ended", "rejected": 1, "resized": 1}
    assert live.keys(live.resized) == {"photos/a b+ü.png.png", "rejected/photos/note.jpg.json"}


@contextlib.contextmanager
def enforced(address: str):
    """Let moto look at policies."""
    requests.post(f"{address}/moto-api/reset-auth", data="0", timeout=10)
    yield
    requests.post(f"{address}/moto-api/reset-auth", data="inf", timeout=10)
