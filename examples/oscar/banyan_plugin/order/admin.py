"""The shop's admin pages, unchanged."""

from oldshop.orders.admin import *  # noqa: F403
