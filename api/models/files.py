"""Files, and assets: the files that people keep, in folders."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field

from .records import Name, Page, Record, Search, Timestamp, WebUrl

MediaType = Annotated[str, Field(min_length=3, max_length=100, pattern=r"^[A-Za-z0-9_.+-]+/[A-Za-z0-9_.+-]+$")]
FileName = Annotated[str, Field(min_length=1, max_length=255)]
AssetName = Annotated[Name, Field(pattern=r"^[^/\\]+$", json_schema_extra={"pattern": r"^[^/\\\x00-\x1f\x7f]+$"})]
"""A name that is a part of a path. The document has both patterns in one."""
FolderPath = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""Names of folders with `/` between them; empty for the topmost. A slash at either end makes no difference."""


class UploadRequest(Record):
    """Body of `POST /file/upload`: announces a file of `file_size` bytes with content type `type`."""

    type: MediaType = Field(examples=["image/png"])
    """Its media type. PUT the bytes to `upload_url` with the header `Content-Type: <type>`."""
    file_size: int = Field(ge=0, examples=[140665])
    """In bytes: exactly as many as will be PUT."""
    file_name: str | None = Field(default=None, max_length=255, examples=["photo.png"])
    """Without one it is called `file`."""


class UploadTicket(Record):
    """Answer to announcing a file: PUT the bytes to `upload_url`, then read them from `download_url`."""

    upload_url: str
    """Where to PUT the bytes, with the header `Content-Type: <type>` and no API key."""
    file_id: str
    download_url: str
    """Where the file is read from, and what an input of a run takes."""
    expires_at: Timestamp | None = None
    """When `download_url` stops working."""


class UploadedFile(Record):
    """Answer to a multipart upload, as the hosted platform writes it."""

    file_id: str
    file_name: str | None = None
    file_url: str
    """Where the file is read from, and what an input of a run takes."""


class StoredFile(Record):
    """A file on the platform."""

    id: str
    name: str
    type: str
    size: int
    """In bytes."""
    url: str
    created_at: Timestamp
    expires_at: Timestamp
    """When `url` stops working; reading the file again gives a new one."""


class FileFromUrl(Record):
    """Body of `POST /file`: a file that the server fetches."""

    url: WebUrl = Field(examples=["https://example.com/photo.png"])
    """Where the file is."""
    file_name: FileName | None = Field(default=None, validation_alias=AliasChoices("file_name", "filename"))
    """Without one it is called as in the URL; `filename` is another name for it."""


class FileRename(Record):
    """Body of `POST /file/{file_id}/rename`."""

    name: FileName = Field(
        validation_alias=AliasChoices("name", "new_name", "filename", "file_name"), examples=["portrait.png"]
    )
    """`new_name`, `filename` and `file_name` are other names for it."""


class Asset(Record):
    """A file or a folder in somebody's library."""

    id: str
    name: str
    is_folder: bool = False
    path: str
    """Where it is: the folders, and last the folder's own name or a file name that is unique."""
    file_size: int | None = None
    url: str | None = None
    mime_type: str | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None


class AssetQuery(Page):
    """Which folder to list: its folders and files, folders first."""

    limit: int = Field(default=1000, ge=0, le=1000)
    """Most rows to answer."""
    path: FolderPath = ""


class AssetSearch(Record):
    """What to look for among all assets."""

    query: Search
    """A part of the name."""
    limit: int = Field(default=5, ge=0, le=1000)
    """Most rows to answer."""


class NewFolder(Record):
    """Body of `POST /assets/folder`."""

    name: AssetName = Field(examples=["portraits"])
    parent_path: FolderPath = ""
    """The folder that it comes into; empty for the topmost."""


class AssetChange(Record):
    """Body of `PATCH /assets/{asset_id}`: another name, or another folder."""

    name: AssetName | None = Field(default=None, examples=["portrait.png"])
    path: FolderPath | None = None
    """The folder that it comes into."""


class AssetFromUrl(Record):
    """Body of `POST /assets/add`: a file that the server fetches."""

    url: WebUrl = Field(examples=["https://example.com/photo.png"])
    """Where the file is."""
    path: FolderPath = ""
    """The folder that it comes into."""


class ParentFolder(Record):
    """Where an upload goes."""

    parent_path: FolderPath = ""
    """The folder that it comes into; empty for the topmost."""


class AssetAnnouncement(Record):
    """An asset whose bytes will be PUT to a URL."""

    file_name: FileName = Field(examples=["photo.png"])
    type: MediaType = Field(examples=["image/png"])
    """Its media type. PUT the bytes to `url` with the header `Content-Type: <type>`."""
    size: int = Field(ge=0, examples=[140665])
    """In bytes: exactly as many as will be PUT."""
    parent_path: FolderPath = ""
    """The folder that it comes into; empty for the topmost."""


class AssetTicket(Record):
    """Answer to announcing an asset: PUT the bytes to `url`, then register it."""

    url: str
    download_url: str
    file_id: str
    db_path: str
    is_public: bool = False


class AssetRegistration(Record):
    """Body of `POST /assets/register`, which the hosted platform wants to hear everything again in."""

    file_id: Annotated[str, Field(max_length=100, pattern=r"^[\w-]+$")]
    """As the answer to the announcement had it."""
    file_name: FileName | None = None
    file_size: int | None = Field(default=None, ge=0)
    db_path: FolderPath | None = None
    url: str | None = None
    mime_type: str | None = None
