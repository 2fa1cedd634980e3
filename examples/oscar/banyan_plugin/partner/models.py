"""Stock records that know who leads.

While the old shop leads, each of these methods is Oscar's own, run behind the shared lock of `phase.py`. While Banyan leads,
nothing here writes `num_in_stock` or `num_allocated`: goods are reserved in Banyan, and the outbox tells it the rest.
"""

from django.conf import settings
from django.db import models, transaction
from django.utils.translation import gettext_lazy as _
from oscar.apps.partner.abstract_models import AbstractStockRecord

from banyan_plugin import outbox, phase, references, reservations
from banyan_plugin.client import Line
from banyan_plugin.errors import NotOurs
from banyan_plugin.partner.fields import AllocatedField, InStockField
from banyan_plugin.references import OWNED


class StockRecordQuerySet(models.QuerySet):
    """Keeps shortcuts past the model from writing what Banyan owns."""

    def update(self, **values):
        """Oscar's way while the old shop leads; refused while Banyan does."""
        owned = [name for name in OWNED if name in values]
        if not owned:
            return super().update(**values)
        with transaction.atomic(using=self.db):
            if phase.decide().banyan_decides:
                raise NotOurs(f"{' and '.join(owned)}: Banyan leads stock. Save the record to count it, or use Banyan's API.")
            return super().update(**values)


class StockRecordManager(models.Manager.from_queryset(StockRecordQuerySet)):
    """Loads the two columns only for those who still read them here."""

    def get_queryset(self):
        """All records."""
        records = super().get_queryset()
        return records.defer(*OWNED) if references.cut() else records


class StockRecord(AbstractStockRecord):
    """A product's price and stock at a partner."""

    num_in_stock = InStockField(_("Number in stock"), blank=True, null=True)
    num_allocated = AllocatedField(_("Number allocated"), blank=True, null=True)

    objects = StockRecordManager()

    @classmethod
    def from_db(cls, db, field_names, values):
        """Remembers what was loaded, so that `save` can tell what somebody changed."""
        record = super().from_db(db, field_names, values)
        record._loaded = {name: record.__dict__[name] for name in OWNED if name in record.__dict__}
        return record

    def clean_fields(self, exclude=None):
        """Checking a column that was not loaded would load it, and make it look like one that somebody gave this record."""
        absent = {name for name in OWNED if name not in self.__dict__}
        super().clean_fields(exclude=absent | set(exclude or ()))

    @property
    def net_stock_level(self):
        """Units that can be sold. None can while nobody says how many there are."""
        if references.cut() and not any(name in self.__dict__ for name in OWNED) and self.num_in_stock is None:
            return 0
        return super().net_stock_level

    @transaction.atomic
    def allocate(self, quantity):
        """Sells `quantity` units to an order."""
        if not self.can_track_allocations:
            return
        held = reservations.current()
        if held is not None and held.take(self.partner_sku, quantity):
            return  # reserved with the rest of its order, and told with it
        with reservations.reserved([Line(self.partner_sku, quantity)], order=None) as held:
            if held is None:
                super().allocate(quantity)

    allocate.alters_data = True

    def is_allocation_consumption_possible(self, quantity):
        """Whether so many can be shipped. While Banyan leads the order's line has the say: the table is a moment behind."""
        with transaction.atomic():
            if phase.decide().banyan_decides:
                return quantity > 0
        return super().is_allocation_consumption_possible(quantity)

    @transaction.atomic
    def consume_allocation(self, quantity):
        """Ships `quantity` units of an order."""
        if not phase.decide().banyan_decides:
            super().consume_allocation(quantity)
        elif self.can_track_allocations:
            outbox.ship(self.partner_sku, settings.BANYAN_LOCATION, quantity)

    consume_allocation.alters_data = True

    @transaction.atomic
    def cancel_allocation(self, quantity):
        """Gives up `quantity` units of an order that will not be shipped."""
        if not phase.decide().banyan_decides:
            super().cancel_allocation(quantity)
        elif self.can_track_allocations:
            outbox.deallocate(self.partner_sku, settings.BANYAN_LOCATION, quantity)

    cancel_allocation.alters_data = True

    @transaction.atomic
    def save(self, *args, update_fields=None, **kwargs):
        """Writes the record. While Banyan leads, a changed number in stock goes to it as a count."""
        if not phase.decide().banyan_decides:
            super().save(*args, update_fields=update_fields, **kwargs)
            self._remember()
            return
        names = update_fields
        if not self._state.adding and names is None:
            loaded = set(self.__dict__)
            names = [field.name for field in self._meta.concrete_fields if field.attname in loaded and not field.primary_key]
        counted = self._counted(names)
        if not self._state.adding:
            names = [name for name in names if name not in OWNED]
            if names:
                super().save(*args, update_fields=names, **kwargs)
        else:
            self._without_owned = True
            try:
                super().save(*args, **kwargs)
            finally:
                self._without_owned = False
        if counted is not None:
            outbox.count(self.partner_sku, settings.BANYAN_LOCATION, counted)
        self._remember()

    save.alters_data = True

    def _counted(self, names) -> int | None:
        """The number in stock that somebody gave this record, if somebody did."""
        loaded = getattr(self, "_loaded", {})
        changed = {
            name: self.__dict__[name]
            for name in OWNED
            if name in self.__dict__
            and (names is None or name in names)
            and (name not in loaded or loaded[name] != self.__dict__[name])
        }
        if changed.get("num_allocated"):
            raise NotOurs("num_allocated: Banyan leads stock, and knows from reservations and shipments what is allocated.")
        return changed.get("num_in_stock")

    def _remember(self) -> None:
        self._loaded = {name: self.__dict__[name] for name in OWNED if name in self.__dict__}

    def _do_insert(self, manager, using, fields, returning_fields, raw):
        """A new record comes without the two columns while Banyan leads: what they hold is written by it alone."""
        if getattr(self, "_without_owned", False):
            fields = [field for field in fields if field.name not in OWNED]
        return super()._do_insert(manager, using, fields, returning_fields, raw)


# Records that are reached through orders are loaded by the same rule. Not in `Meta`, where migrations would see a change.
StockRecord._meta.base_manager_name = "objects"

from oscar.apps.partner.models import *  # noqa: E402,F403  the other models are Oscar's own
