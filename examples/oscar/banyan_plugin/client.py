"""Banyan's HTTP API, as far as a shop needs it. Standard library only.

An answer that does not come says nothing about what was done. So a reservation is asked for again under the same
`Idempotency-Key` until there is an answer or no more time; whatever was reserved without our hearing of it ends by itself.
"""

import http.client
import json
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from django.conf import settings

from banyan_plugin.errors import NeverAsItIs, NotLeading, OutOfStock, Refused, Unreachable

logger = logging.getLogger("banyan")

# How long goods stay reserved for an order whose transaction is under way.
HOLD_SECONDS = 120
# One try, and all tries together. A shopper waits this long at most, and a change of leadership with them.
TRY_SECONDS = 2.0
RESERVE_SECONDS = 6.0
LOOK_SECONDS = 3.0
PAUSE_SECONDS = 0.05
PAUSE_SECONDS_MAX = 0.5
# What is wrong with the question, and not with the moment or with who asks.
NEVER = {400, 413, 422}
# Busy, stopping, or unsure: worth asking again.
ASK_AGAIN = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Line:
    """So many units of a SKU."""

    sku: str
    quantity: int


@dataclass(frozen=True)
class Level:
    """An item in the words of the old table."""

    in_stock: int
    allocated: int

    @property
    def free(self) -> int:
        """Units that can be sold; below 0 where more was sold than there is."""
        return self.in_stock - self.allocated


_local = threading.local()


def reserve(lines: list[Line], order: str | None, key: str) -> str:
    """Reserves all lines or none, for an order if there is one, and returns the reservation's name.

    Raises `OutOfStock`, `NotLeading`, another `Refused`, or `Unreachable` when it stays unknown what became of it.
    """
    body = {
        "lines": [
            {"sku": line.sku, "quantity": line.quantity, "location": settings.BANYAN_LOCATION} for line in lines
        ],
        "hold_seconds": HOLD_SECONDS,
    }
    if order:
        body["order"] = order
    return _insist("POST", "/v1/stock/reservations", body, key, RESERVE_SECONDS, lambda answer: str(answer["reservation"]))


def release(reservation: str) -> None:
    """Gives a reservation up. One try: if it fails, the reservation ends by itself."""
    try:
        status, answer = _once("POST", f"/v1/stock/reservations/{reservation}/release", {}, None)
        if status != 200:
            logger.warning("releasing %s: %s %s", reservation, status, answer.get("detail"))
    except (OSError, http.client.HTTPException, ValueError) as error:
        logger.warning("releasing %s: %s; it ends by itself within %s s", reservation, error, HOLD_SECONDS)


def level(sku: str) -> Level:
    """An item as Banyan has it. A SKU that Banyan has never heard of has nothing."""
    try:
        return _insist("GET", f"/v1/stock/{quote(sku, safe='')}", None, None, LOOK_SECONDS, _level)
    except Refused as refused:
        if refused.slug == "sku-not-found":
            return Level(0, 0)
        raise


def levels() -> dict[str, Level]:
    """Every item at the shop's location, by SKU."""
    found, after = {}, ""
    while True:
        page, following = _insist("GET", f"/v1/stock?limit=1000{after}", None, None, LOOK_SECONDS, _page)
        found.update(page)
        if not following:
            return found
        after = f"&after={quote(following, safe='')}"


def _page(answer: dict) -> tuple[dict[str, Level], str | None]:
    here = settings.BANYAN_LOCATION
    mine = (item for item in answer["skus"] if any(place["location"] == here for place in item["locations"]))
    return {item["sku"]: _level(item) for item in mine}, answer["next"]


def _level(item: dict) -> Level:
    for place in item["locations"]:
        if place["location"] == settings.BANYAN_LOCATION:
            allocated = place.get("allocated", 0)
            return Level(place["on_hand"] + allocated - place.get("short", 0), place["held"] + allocated)
    return Level(0, 0)


def _insist(method: str, path: str, body: dict | None, key: str | None, seconds: float, read):
    """Asks until there is an answer to rely on, `seconds` at most. What `read` cannot make sense of is no answer."""
    deadline, pause = time.monotonic() + seconds, PAUSE_SECONDS
    while True:
        try:
            status, answer = _once(method, path, body, key)
            if status in (200, 201):
                return read(answer)
            if status not in ASK_AGAIN:
                raise _refusal(status, answer)
            problem = f"{status} {answer.get('detail', '')}"
        except (KeyError, TypeError) as error:
            problem = f"an answer without sense: {error!r}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = str(error) or type(error).__name__
        if time.monotonic() + pause >= deadline:
            raise Unreachable(f"{method} {path} at {settings.BANYAN_URL}: {problem}")
        time.sleep(pause)
        pause = min(2 * pause, PAUSE_SECONDS_MAX)


def _refusal(status: int, answer: dict) -> Refused:
    slug, detail = str(answer["type"]).rsplit("/", 1)[-1], str(answer["detail"])
    if slug == "out-of-stock":
        return OutOfStock(detail, {line["line"]: line["available"] for line in answer.get("lines") or []})
    if slug == "not-leading":
        return NotLeading(detail)
    return NeverAsItIs(slug, detail) if status in NEVER else Refused(slug, detail)


def _once(method: str, path: str, body: dict | None, key: str | None) -> tuple[int, dict]:
    """One request on this thread's connection, which is kept for the next."""
    if getattr(_local, "address", None) != settings.BANYAN_URL:
        _drop()
    connection = getattr(_local, "connection", None)
    if connection is None:
        # The key first: without it there is no connection that a later try could mistake for a whole one.
        _local.bearer = "Bearer " + Path(settings.BANYAN_KEY_FILE).read_text().strip()
        _local.address = settings.BANYAN_URL
        address = urlsplit(settings.BANYAN_URL)
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        connection = _local.connection = kind(address.hostname, address.port, timeout=TRY_SECONDS)
    headers = {"Authorization": _local.bearer, "Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        text, status = response.read(), response.status
        answer = json.loads(text)
        if not isinstance(answer, dict):
            raise ValueError("the answer is no JSON object")
    except BaseException:
        _drop()  # whatever is still on its way belongs to this request, not to the next
        raise
    if status == 401:
        _drop()  # the key may have been changed: it is read again next time
    return status, answer


def _drop() -> None:
    connection, _local.connection = getattr(_local, "connection", None), None
    if connection is not None:
        connection.close()
