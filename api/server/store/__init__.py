"""Everything the platform remembers. The only place that knows SQL."""

from __future__ import annotations

from .account_events import AccountEventStore
from .assets import AssetStore
from .database import Database, open_database
from .deployments import DeploymentStore
from .files import FileStore
from .history import DeploymentHistory
from .keys import KeyStore
from .machines import MachineStore
from .once import OnceStore
from .runs import RunStore
from .webhooks import WebhookStore
from .work import WorkStore
from .workflows import WorkflowStore

__all__ = ["Store", "open_store"]


class Store:
    """The platform's memory, one attribute for each kind of thing."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.keys = KeyStore(database)
        self.files = FileStore(database)
        self.assets = AssetStore(database)
        self.machines = MachineStore(database)
        self.deployments = DeploymentStore(database)
        self.history = DeploymentHistory(database)
        self.workflows = WorkflowStore(database)
        self.runs = RunStore(database)
        self.work = WorkStore(database)
        self.webhooks = WebhookStore(database)
        self.account_events = AccountEventStore(database)
        self.once = OnceStore(database)


async def open_store(url: str) -> Store:
    """Open the database at an SQLAlchemy URL and bring it to the newest shape."""
    database = open_database(url)
    await database.migrate()
    return Store(database)
