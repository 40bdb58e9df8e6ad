"""Swift's four servers in one process: accounts, containers (buckets), objects, and the proxy that speaks S3.

`python server.py FOLDER PORT` with `{"key": ..., "secret": ...}` on standard input. All data lie below FOLDER. Swift
comes from requirements-s3.txt.
"""

import configparser
import json
import os
import sys
from pathlib import Path

import eventlet
import eventlet.wsgi

HOST = "127.0.0.1"
PATIENT = {"conn_timeout": 10, "node_timeout": 120, "container_update_timeout": 120}
"""Seconds for which the servers wait for each other. No updater runs that would make up for one that gave up."""
BACKENDS = {"account": 1, "container": 2, "object": 3}
"""Ports of the servers behind the proxy, from its own on."""
FILTERS: dict[str, dict[str, object]] = {
    "catch_errors": {},
    "gatekeeper": {},
    "listing_formats": {},
    "bulk": {},
    "s3api": {"location": "us-east-1", "dns_compliant_bucket_names": "true"},
    "tempauth": {},
    "copy": {},
    "slo": {},  # uploads in parts
    "dlo": {},
    "versioned_writes": {"allow_object_versioning": "true"},
    "symlink": {},  # of versions
}
"""What a request passes before it reaches the proxy, and how each is set up."""


def write_ini(path: Path, sections: dict[str, dict[str, object]]) -> None:
    """Write a configuration file that its owner alone can read."""
    parser = configparser.RawConfigParser(default_section="")
    parser.read_dict({name: {key: str(value) for key, value in values.items()} for name, values in sections.items()})
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        parser.write(stream)


def configure(root: Path, port: int, key: str, secret: str) -> Path:
    """Write Swift's configuration; its folder.

    Parameters
    ----------
    root
        Folder of all data.
    port
        Of the proxy; those of `BACKENDS` follow.
    key, secret
        What a client signs by; the key is `account:user`.
    """
    etc = root / "etc"
    for folder in (etc, root / "disks/disk"):
        folder.mkdir(parents=True, exist_ok=True)
    write_ini(
        etc / "swift.conf",
        {
            "swift-hash": {"swift_hash_path_suffix": "deblurgan"},
            "storage-policy:0": {"name": "one", "default": "yes"},
        },
    )
    common: dict[str, object] = {"swift_dir": etc, "log_address": "/dev/null", **PATIENT}
    for kind, offset in BACKENDS.items():
        ring(etc / f"{kind}.ring.gz", port + offset)
        disks: dict[str, object] = {"devices": root / "disks", "mount_check": "false", "fallocate_reserve": 0}
        write_ini(
            etc / f"{kind}-server.conf",
            {
                "DEFAULT": {**common, **disks},
                "pipeline:main": {"pipeline": f"{kind}-server"},
                f"app:{kind}-server": {"use": f"egg:swift#{kind}", **PATIENT},
            },
        )
    filters: dict[str, dict[str, object]] = {
        **FILTERS,
        "tempauth": {f"user_{key.replace(':', '_')}": f"{secret} .admin"},
    }
    write_ini(
        etc / "proxy-server.conf",
        {
            "DEFAULT": common,
            "pipeline:main": {"pipeline": " ".join([*filters, "proxy-server"])},
            **{f"filter:{name}": {"use": f"egg:swift#{name}", **values} for name, values in filters.items()},
            "app:proxy-server": {"use": "egg:swift#proxy", "account_autocreate": "true", **PATIENT},
        },
    )
    return etc


def ring(path: Path, port: int) -> None:
    """Say where a server is: one copy of everything, on one disk."""
    from swift.common.ring import RingBuilder

    builder = RingBuilder(4, 1, 0)  # 16 partitions, one copy
    device = {"id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": HOST, "port": port, "device": "disk"}
    builder.add_dev(device)
    builder.rebalance(seed="deblurgan")  # partitions stay where they are
    builder.get_ring().save(str(path))


def main() -> None:
    """Serve until killed."""
    eventlet.monkey_patch()  # before Swift is imported
    root, port, keys = Path(sys.argv[1]), int(sys.argv[2]), json.load(sys.stdin)
    listening = {"proxy": eventlet.listen((HOST, port), reuse_port=False)}
    listening |= {kind: eventlet.listen((HOST, port + n), reuse_port=False) for kind, n in BACKENDS.items()}
    etc = configure(root, port, keys["key"], keys["secret"])
    from swift.common import utils
    from swift.common.wsgi import loadapp

    utils.set_swift_dir(str(etc))
    utils.validate_configuration()
    serving = []
    for kind, socket in listening.items():
        app = loadapp(str(etc / f"{kind}-server.conf"), global_conf={"log_name": kind})
        serving.append(eventlet.spawn(eventlet.wsgi.server, socket, app, log_output=False, debug=False))
    for one in serving:
        one.wait()


if __name__ == "__main__":
    main()
