"""The shop's models, unchanged."""

from oldshop.orders.models import *  # noqa: F403
