"""`outpost serve --objects`: files go to a bucket, and one that cannot be used is one sentence."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.fakes.bucket import SECRET, BucketServer, InBucket

KEY = re.compile(r"outpost_[\w-]{20,}")


@pytest.fixture
def bucket(buckets: BucketServer, monkeypatch: pytest.MonkeyPatch) -> InBucket:
    url, environ = buckets.new_bucket()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return InBucket(buckets, url)


async def test_files_are_kept_in_the_bucket_and_not_in_the_folder(bucket: InBucket, tmp_path: Path):
    data = tmp_path / "data"
    command = [sys.executable, "-m", "comfyui_outpost.api.cli", "serve", "--port", "0", "--data", str(data)]
    with subprocess.Popen([*command, "--objects", bucket.url], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            said = ""
            while " serves http" not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            url = re.findall(r"serves (http://127\.0\.0\.1:\d+)", said)[0]
            async with Client(Connection(url, KEY.findall(said)[0])) as client:
                stored = await client.files.upload(b"12345", name="a.bin", content_type="application/octet-stream")
            answer = httpx.get(stored.url, trust_env=False)
        finally:
            process.kill()

    assert answer.content == b"12345"
    assert len(bucket.keys()) == 1
    assert not (data / "objects").exists()
    assert SECRET not in said


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://none-such/x", "The bucket none-such cannot be used: it answers NoSuchBucket."),
        ("s3://key:secret-word@bucket/x", "Objects go to a URL such as s3://bucket/prefix"),
    ],
)
def test_a_bucket_that_cannot_be_used_is_one_sentence(terminal, bucket: InBucket, tmp_path: Path, url: str, says: str):
    said = terminal.run_here("serve", "--port", "0", "--data", str(tmp_path / "data"), "--objects", url)

    assert said.code == 1
    assert said.err.startswith(f"outpost: {says}")
    assert len(said.err.splitlines()) == 1
    assert "secret-word" not in said.out + said.err
    assert not KEY.search(said.out)
