"""Webhooks: telling somebody's server what becomes of a run.

A change of status is written down together with the message about it, and the message is tried again until it has
arrived or has been tried for more than a day; so a message may come twice, late, or after a newer one. Progress is told
at once or not at all. Every message is signed as Standard Webhooks (https://www.standardwebhooks.com) has it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import random
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol
from uuid import uuid4

from aiohttp import ClientError, ClientSession, ClientTimeout
from aiohttp.abc import AbstractResolver

from ..errors import Unprocessable, quote
from ..models import RunOutput, RunStatus
from .addresses import check_url, outgoing_session
from .config import ServerConfig
from .feed import Feed, Tail
from .store import Store
from .store.runs import Webhook
from .store.webhooks import Busy, Delivery, receiver_of
from .store.work import ClaimedRun

log = logging.getLogger("outpost.webhooks")

AT_ONCE = 8
AT_ONCE_PER_RECEIVER = 2
ANSWER_SECONDS = 20
LEASE_SECONDS = 60
"""Longer than an attempt can take."""
_LOOK_SECONDS = 5.0
"""How long a message may stay unseen that another process has written, or that nobody has told of."""

RETRY_SECONDS = (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)
"""About how long after each failed attempt the next one comes; after the last of them there is none."""
ATTEMPTS = len(RETRY_SECONDS) + 1
_JITTER = 0.2


class Render(Protocol):
    """The outputs of a run, with URLs under `base_url`."""

    async def __call__(self, run_id: str, *, base_url: str) -> list[RunOutput]: ...


def webhook_secret(server_secret: bytes, key_id: str) -> str:
    """What the messages about runs of an API key are signed with. It is derived and need not be kept."""
    derived = hmac.digest(server_secret, b"webhook:" + key_id.encode(), hashlib.sha256)
    return "whsec_" + base64.b64encode(derived).decode()


def signed_headers(secret: str, message_id: str, *, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove whom a message is from, for a secret that begins with `whsec_`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def retry_delay(attempts: int, *, chance: float) -> timedelta | None:
    """How long to wait after so many attempts, a little longer by `chance` from 0 to 1; None to give up."""
    if attempts >= ATTEMPTS:
        return None
    return timedelta(seconds=RETRY_SECONDS[attempts - 1] * (1 + _JITTER * chance))


class Webhooks:
    """One for each server process. `resolver` looks names up, by default the system."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        *,
        config: ServerConfig,
        secret: bytes,
        render: Render,
        resolver: AbstractResolver | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        progress_seconds: float = 1,
    ) -> None:
        self._messages = store.webhooks
        self._feed = feed
        self._allow_private = config.allow_private_addresses
        self._secret = secret
        self._render = render
        self._resolver = resolver
        self._answer_seconds = answer_seconds
        self._progress_seconds = progress_seconds
        self._session: ClientSession | None = None
        self._loop: asyncio.Task[None] | None = None
        self._deliveries: dict[asyncio.Task[None], Delivery] = {}
        self._followed: dict[str, asyncio.Task[None]] = {}
        self._told_of_progress: Counter[str] = Counter()
        self._woken = asyncio.Event()

    async def start(self) -> None:
        """Deliver what is due, also what an earlier process has left, until `stop`."""
        self._session = outgoing_session(allow_private=self._allow_private, resolver=self._resolver)
        self._loop = asyncio.create_task(self._deliver_for_ever(self._session))

    async def stop(self) -> None:
        """Break off what is under way; the next process repeats it."""
        if self._loop is None or self._session is None:
            return
        await _cancel(self._loop, *self._followed.values())
        broken_off = dict(self._deliveries)
        await _cancel(*broken_off)
        for task, delivery in broken_off.items():
            if task.cancelled():
                await self._messages.release(delivery)
        await self._session.close()

    def wake(self) -> None:
        """There may be something to deliver."""
        self._woken.set()

    def secret_of(self, key_id: str) -> str:
        """What the messages about runs of an API key are signed with."""
        return webhook_secret(self._secret, key_id)

    def follow(self, run: ClaimedRun) -> None:
        """Tell what becomes of a run that begins here, as soon as it happens, until the run is over."""
        if run.webhook is None or self._session is None or run.id in self._followed:
            return

        def done(task: asyncio.Task[None]) -> None:
            del self._followed[run.id]
            _log_failure(task)

        task = asyncio.create_task(self._follow(run.id, Webhook(**run.webhook), self._session))
        self._followed[run.id] = task
        task.add_done_callback(done)

    async def _deliver_for_ever(self, session: ClientSession) -> None:
        while True:
            self._woken.clear()
            seconds = _LOOK_SECONDS
            try:
                seconds = await self._begin_all(session)
            except Exception:
                log.exception("the webhooks could not reach their database; they try again")
            await self._sleep(seconds)

    async def _begin_all(self, session: ClientSession) -> float:
        """Begin with every message that is due, as far as there is room; in how many seconds to look again."""
        while len(self._deliveries) < AT_ONCE:
            busy = self._busy()
            # Looked up before it is claimed: nobody who writes has to wait for a search that finds nothing.
            due = await self._messages.next_due(busy=busy)
            seconds = (due - self._messages.now()).total_seconds() if due else _LOOK_SECONDS
            if seconds > 0:
                return min(_LOOK_SECONDS, seconds)
            delivery = await self._messages.claim(seconds=LEASE_SECONDS, busy=busy)
            if delivery is None:
                break  # another process was quicker
            task = asyncio.create_task(self._deliver(session, delivery))
            self._deliveries[task] = delivery
            task.add_done_callback(self._delivery_done)
        return _LOOK_SECONDS

    def _delivery_done(self, task: asyncio.Task[None]) -> None:
        del self._deliveries[task]
        _log_failure(task)
        self.wake()

    def _busy(self) -> Busy:
        """Messages of one run go one after the other, so that they arrive in order if all is well."""
        under_way = self._deliveries.values()
        counts = Counter(receiver_of(delivery.webhook.url) for delivery in under_way)
        full = [receiver for receiver, count in counts.items() if count >= AT_ONCE_PER_RECEIVER]
        return Busy(full, [delivery.run_id for delivery in under_way])

    async def _sleep(self, seconds: float) -> None:
        """Until something may be due. Up to Python 3.11 wait_for may swallow the cancellation of `stop`."""
        timer = asyncio.get_running_loop().call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()

    async def _deliver(self, session: ClientSession, delivery: Delivery) -> None:
        """One attempt. Those of which nobody knows how they ended count, too."""
        if delivery.attempts <= ATTEMPTS and await self._tell(session, delivery):
            await self._messages.settle(delivery, is_delivered=True)
            return
        delay, now = retry_delay(delivery.attempts, chance=random.random()), self._messages.now()
        await self._messages.settle(delivery, is_delivered=False, next_attempt_at=now + delay if delay else None)
        if delay is None:
            host, status = _host_of(delivery.webhook.url), delivery.status.value
            log.warning("run %s: %s did not accept that it is %s; it is not told again", delivery.run_id, host, status)

    async def _tell(self, session: ClientSession, delivery: Delivery) -> bool:
        body = await self._body_of(delivery)
        return await self._post(session, delivery.webhook, body, message_id=delivery.id)

    async def _body_of(self, delivery: Delivery) -> dict[str, Any]:
        run_id, status = delivery.run_id, delivery.status
        if not status.is_terminal:
            return _message(run_id, status, live_status=None, progress=0.0)
        outputs = await self._render(run_id, base_url=delivery.webhook.base_url)
        body = _message(run_id, status, live_status=delivery.live_status, progress=delivery.progress)
        body["outputs"] = [output.model_dump(mode="json") for output in outputs]
        return body | ({"error": delivery.error} if delivery.error else {})

    async def _post(
        self, session: ClientSession, webhook: Webhook, body: Mapping[str, Any], *, message_id: str
    ) -> bool:
        """Send a message; whether it was accepted. Nothing else of the answer is looked at."""
        data = json.dumps(body).encode()
        timestamp = int(self._messages.now().timestamp())
        headers = signed_headers(self.secret_of(webhook.key_id), message_id, timestamp=timestamp, body=data)
        headers |= {"Content-Type": "application/json", "User-Agent": "comfyui-outpost"}
        timeout = ClientTimeout(total=self._answer_seconds)
        try:
            url = check_url(webhook.url, allow_private=self._allow_private)
            request = session.post(url, data=data, headers=headers, allow_redirects=False, timeout=timeout)
            async with request as answer:
                return 200 <= answer.status < 300
        except (ClientError, OSError, ValueError, asyncio.TimeoutError, Unprocessable):
            return False

    async def _follow(self, run_id: str, webhook: Webhook, session: ClientSession) -> None:
        async with self._feed.follow(run_id) as tail:
            telling = asyncio.create_task(self._tell_progress(run_id, webhook, session, tail))
            telling.add_done_callback(_log_failure)
            try:
                await self._wake_until_over(tail)
            finally:
                await _cancel(telling)

    async def _wake_until_over(self, tail: Tail) -> None:
        """Every change of status is in the log, so there is a message when the log has grown."""
        logged = 0
        while not tail.is_over:
            if tail.place.logged > logged:
                logged = tail.place.logged
                self.wake()
            await tail.changed()
        self.wake()

    async def _tell_progress(self, run_id: str, webhook: Webhook, session: ClientSession, tail: Tail) -> None:
        """Tell the latest progress, if that is wanted; what comes while a message is under way is passed over."""
        told, receiver = None, receiver_of(webhook.url)
        while webhook.is_intermediate and not tail.is_over:
            live, others = self._feed.live(run_id), self._told_of_progress
            if live is None or live == told or others[receiver] >= AT_ONCE_PER_RECEIVER:
                await tail.changed()
                continue
            if await self._messages.are_waiting(run_id):
                await asyncio.sleep(self._progress_seconds)  # what has to be told first is on its way
                continue
            told = live
            body = _message(run_id, RunStatus.RUNNING, live_status=live.text, progress=live.progress)
            others[receiver] += 1
            try:
                await self._post(session, webhook, body, message_id=str(uuid4()))
            finally:
                others -= Counter([receiver])
            await asyncio.sleep(self._progress_seconds)


def _message(run_id: str, status: RunStatus, *, live_status: str | None, progress: float) -> dict[str, Any]:
    return {
        "event_type": "run.updated",
        "run_id": run_id,
        "status": status.value,
        "live_status": live_status,
        "progress": progress,
        "outputs": [],
    }


def _host_of(url: str) -> str:
    """What a log says of a webhook: its path, its query and a password in it may be secrets."""
    return quote(receiver_of(url).rpartition("@")[2].removeprefix("http://").removeprefix("https://"))


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    """End tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _log_failure(task: asyncio.Task[None]) -> None:
    # A message that is not settled comes again when its lease has run out.
    if not task.cancelled() and (error := task.exception()):
        log.error("a webhook was not told, for a reason of the server's own", exc_info=error)
