"""The shop's own handling of orders, unchanged."""

from oldshop.orders.processing import EventHandler  # noqa: F401
