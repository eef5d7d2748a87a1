"""Where objects lie, for tests of both places: a folder, and a bucket of moto's S3 server on loopback."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from xml.etree import ElementTree

PREFIX = "a/prefix"
SECRET = "SECRET-that-nobody-may-see"


class Place(Protocol):
    """Where the objects of a test lie, looked at from outside the program."""

    url: str | None
    """For `ServerConfig.objects_url`."""

    def keys(self) -> list[str]:
        """The keys of all objects."""
        ...

    def unfinished(self) -> list[str]:
        """What uploads have left that did not become an object, or not yet."""
        ...


@dataclass(frozen=True)
class InFolder:
    """A folder of objects."""

    folder: Path
    url: None = None

    def keys(self) -> list[str]:
        return [key for key in self._files() if not key.startswith(".parts/")]

    def unfinished(self) -> list[str]:
        return [key for key in self._files() if key.startswith(".parts/")]

    def _files(self) -> list[str]:
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in paths)


class BucketServer:
    """A store that speaks S3. It takes any credentials."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._numbers = itertools.count(1)

    def new_bucket(self) -> tuple[str, dict[str, str]]:
        """A new empty bucket: its URL, and the environment in which that URL works."""
        name = f"bucket-{next(self._numbers)}"
        self.ask("PUT", f"/{name}")
        environ = {
            "AWS_ENDPOINT_URL": f"http://{self._host}:{self._port}",
            "AWS_ACCESS_KEY_ID": "an-access-key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }
        return f"s3://{name}/{PREFIX}", environ

    def ask(self, method: str, path: str) -> str:
        """What the server answers to a request without a signature."""
        connection = HTTPConnection(self._host, self._port, timeout=20)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status < 300, text
            return text
        finally:
            connection.close()


@dataclass(frozen=True)
class InBucket:
    """A bucket of objects, by its URL."""

    server: BucketServer
    url: str

    def keys(self) -> list[str]:
        found = sorted(self._listed("list-type=2"))
        assert all(key.startswith(f"{PREFIX}/") for key in found), found
        return [key.removeprefix(f"{PREFIX}/") for key in found]

    def unfinished(self) -> list[str]:
        return sorted(self._listed("uploads="))

    def _listed(self, query: str) -> Iterator[str]:
        answer = ElementTree.fromstring(self.server.ask("GET", f"/{urlsplit(self.url).netloc}?{query}"))
        for element in answer.iter():
            if element.tag.endswith("}Key") or element.tag == "Key":
                yield element.text or ""


@contextmanager
def bucket_server() -> Generator[BucketServer, None, None]:
    """A store that speaks S3 until the block ends."""
    from moto.server import ThreadedMotoServer  # takes a second

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells of every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield BucketServer(*server.get_host_and_port())
    finally:
        server.stop()
