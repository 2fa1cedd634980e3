"""Oscar's admin pages, unchanged."""

from oscar.apps.order.admin import *  # noqa: F403
