"""Lines of baskets are loaded together with their stock records, past the records' own manager: they need the rule, too."""

from django.db import models
from oscar.apps.basket.abstract_models import AbstractLine

from banyan_plugin import references
from banyan_plugin.references import OWNED


class LineManager(models.Manager):
    """Leaves the two columns of the stock record out for those who read them from Banyan."""

    def get_queryset(self):
        """All lines."""
        lines = super().get_queryset()
        return lines.defer(*(f"stockrecord__{name}" for name in OWNED)) if references.cut() else lines


class Line(AbstractLine):
    """A line of a basket."""

    objects = LineManager()


from oscar.apps.basket.models import *  # noqa: E402,F403  the other models are Oscar's own
