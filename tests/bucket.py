"""A bucket of an emulator of Google Cloud Storage, in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

__all__ = ["Bucket", "running_bucket"]


class Bucket:
    """A bucket of the emulator, seen through its HTTP interface alone."""

    def __init__(self, host: str, name: str) -> None:
        self.host, self.name = host, name

    def names(self) -> list[str]:
        """Return the names of all objects."""
        with urllib.request.urlopen(f"{self.host}/storage/v1/b/{self.name}/o") as answer:
            return sorted(entry["name"] for entry in json.load(answer).get("items", ()))

    def read(self, name: str) -> bytes:
        """Return what an object holds."""
        path = f"{self.host}/storage/v1/b/{self.name}/o/{quote(name, safe='')}?alt=media"
        with urllib.request.urlopen(path) as answer:
            return bytes(answer.read())

    def write(self, name: str, data: bytes) -> None:
        """Make an object."""
        path = f"{self.host}/upload/storage/v1/b/{self.name}/o?uploadType=media&name={quote(name)}"
        kind = {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(path, data=data, method="POST", headers=kind)
        urllib.request.urlopen(request).close()


@contextmanager
def running_bucket(folder: Path) -> Iterator[Bucket]:
    """Start the emulator with an empty bucket, which processes started meanwhile take for Google's.

    Args:
        folder: An empty folder for credentials.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gcp_storage_emulator", *command, "--default-bucket", "test-bucket"],
        stderr=subprocess.DEVNULL,
    )
    host = f"http://127.0.0.1:{port}"
    made = Bucket(host, "test-bucket")
    before = dict(os.environ)
    # Without credentials, Beam looks for them for half a minute before it goes on.
    user = folder / "credentials.json"
    token = {"type": "authorized_user", "token": "test", "expiry": "2100-01-01T00:00:00Z"}
    none = dict.fromkeys(("client_id", "client_secret", "refresh_token"), "none")
    user.write_text(json.dumps({**token, **none}))
    os.environ.update(
        STORAGE_EMULATOR_HOST=host, GOOGLE_APPLICATION_CREDENTIALS=str(user),
        GOOGLE_CLOUD_PROJECT="test-project",
    )  # fmt: skip
    try:
        for _ in range(100):
            try:
                made.names()
                break
            except OSError:
                time.sleep(0.1)
        yield made
    finally:
        os.environ.clear()
        os.environ.update(before)
        process.kill()
        process.wait()
