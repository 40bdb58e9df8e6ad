"""S3 on one's own machine: OpenStack Swift with its S3 API, from PyPI, on 127.0.0.1.

`server` is the server, in an environment of its own; `control` starts and stops it (`make s3`, `make s3-stop`).
"""
