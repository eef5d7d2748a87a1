"""Where a platform is kept: the options that say so, which several commands have."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutpostError

if TYPE_CHECKING:
    from ..server.config import ServerConfig


def add_place(parser: argparse.ArgumentParser) -> None:
    """The options that `config_of` reads."""
    where = f"folder for everything that the platform keeps (default: {data_folder()})".replace("%", "%%")
    parser.add_argument("--data", type=Path, default=None, help=where)
    parser.add_argument(
        "--database",
        metavar="URL",
        default=os.environ.get("OUTPOST_DATABASE_URL"),
        help="SQLAlchemy URL of a database to use instead of SQLite (default: OUTPOST_DATABASE_URL in the environment, "
        "where nobody reads a password from the list of processes)",
    )


def config_of(options: argparse.Namespace) -> ServerConfig:
    """The settings of the platform that a command works on beside its server."""
    from ..server.config import ServerConfig

    logging.getLogger("alembic").setLevel(logging.WARNING)
    return ServerConfig(options.data or data_folder(), database_url=options.database)


def data_folder() -> Path:
    """Where `outpost serve` keeps everything unless it is told otherwise."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "comfyui-outpost"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "comfyui-outpost" / "server"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "comfyui-outpost"


@contextmanager
def one_sentence(what: str) -> Generator[None, None, None]:
    """What the operating system refuses, in one sentence."""
    try:
        yield
    except OSError as error:
        raise OutpostError(f"{what}: {error.strerror}") from error
