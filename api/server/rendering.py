"""What a run has put out, as a client sees it: with a signed URL in place of each object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..models import RunOutput
from ..shapes import is_object
from .objects import Objects
from .store import Store


@dataclass(frozen=True)
class Rendering:
    """Signs the URLs that go out; they work for `seconds`."""

    store: Store
    objects: Objects
    seconds: float

    async def outputs(self, run_id: str, *, base_url: str) -> list[RunOutput]:
        """The outputs of a run in the order in which they came."""
        rows = await self.store.runs.outputs(run_id)
        return [
            RunOutput.model_validate(
                {
                    **row,
                    "data": self.with_urls(row["data"], base_url=base_url),
                    "node_meta": {name: row[name] for name in ("node_id", "node_class")},
                    "updated_at": row["created_at"],
                }
            )
            for row in rows
        ]

    def with_urls(self, data: Mapping[str, list[Any]], *, base_url: str) -> dict[str, list[Any]]:
        """Outputs by kind, whose files have a signed URL under `base_url` in place of their object."""
        return {kind: [self._with_url(item, base_url) for item in items] for kind, items in data.items()}

    def _with_url(self, item: Any, base_url: str) -> Any:
        if not is_object(item) or "object" not in item:
            return item
        fields = {**item}
        url = self.url(base_url, key=fields.pop("object"), content_type=fields["content_type"])
        return {**fields, "url": url, "is_public": False}

    def url(self, base_url: str, *, key: str, content_type: str) -> str:
        """A URL from which an object can be read."""
        return self.objects.sign(base_url, method="GET", key=key, content_type=content_type, seconds=self.seconds)
