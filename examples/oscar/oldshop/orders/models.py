"""Oscar's models, unchanged."""

from oscar.apps.order.models import *  # noqa: F403  a fork takes Oscar's models over this way
