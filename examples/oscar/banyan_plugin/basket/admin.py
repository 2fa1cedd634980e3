"""Oscar's admin pages, unchanged."""

from oscar.apps.basket.admin import *  # noqa: F403
