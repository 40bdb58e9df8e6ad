"""Services of AWS on 127.0.0.1, by moto."""

import contextlib
from collections.abc import Iterator

import boto3
import requests
from botocore.config import Config
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """An account without anything in it; the address of its services."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        reset(f"http://{host}:{port}")
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def reset(endpoint: str) -> None:
    """Forget everything: the state of moto belongs to the process, not to the server."""
    requests.post(f"{endpoint}/moto-api/reset", timeout=10)


@contextlib.contextmanager
def permissions_checked(endpoint: str) -> Iterator[None]:
    """Refuse meanwhile what the policies of a user do not allow."""
    switch = f"{endpoint}/moto-api/reset-auth"
    requests.post(switch, data="0", timeout=10)
    try:
        yield
    finally:
        requests.post(switch, data="inf", timeout=10)


def environment(endpoint: str) -> dict[str, str]:
    """What a user exports."""
    return {**KEYS, "AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}


def client(service: str, endpoint: str, key: str = "test", secret: str = "test"):
    """A client of the tests' own."""
    keys = {"aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": REGION}
    return boto3.client(service, endpoint_url=endpoint, config=Config(max_pool_connections=20), **keys)
