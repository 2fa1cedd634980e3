"""What Banyan must hear of: written in the same transaction as the thing itself, so that both happen or neither does."""

import json

from django.db import connection

from banyan_plugin.phase import CAPABILITY


def allocate(reservation: str) -> None:
    """The order for what was reserved is there: sold, and waiting to be shipped."""
    _tell("allocate", {"reservation": reservation})


def ship(sku: str, location: str, quantity: int) -> None:
    """Goods of an order left the warehouse."""
    _tell("ship", {"sku": sku, "location": location, "quantity": quantity})


def deallocate(sku: str, location: str, quantity: int) -> None:
    """Goods of an order will not be shipped after all."""
    _tell("deallocate", {"sku": sku, "location": location, "quantity": quantity})


def count(sku: str, location: str, on_hand: int) -> None:
    """Somebody counted the shelf."""
    _tell("count", {"sku": sku, "location": location, "on_hand": on_hand})


def _tell(kind: str, body: dict) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into banyan_outbox (capability, kind, body) values (%s, %s, %s)",
            [CAPABILITY, kind, json.dumps(body)],
        )
