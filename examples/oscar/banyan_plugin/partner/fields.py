"""The two columns that change hands."""

from django.db import models
from django.db.models.query_utils import DeferredAttribute

from banyan_plugin import levels, references


class OwnedAttribute(DeferredAttribute):
    """A column that was not loaded because its reader is cut loose is read from Banyan; else Django loads it."""

    def __get__(self, instance, cls=None):
        if instance is None:
            return self
        if self.field.attname not in instance.__dict__ and instance.pk and references.cut():
            level = levels.of(instance.partner_sku)
            return None if level is None else getattr(level, self.field.level)
        return super().__get__(instance, cls)


class _Owned:
    descriptor_class = OwnedAttribute

    def deconstruct(self):
        """To migrations it is the column it always was."""
        name, _path, args, kwargs = super().deconstruct()
        return name, f"django.db.models.{self.get_internal_type()}", args, kwargs


class InStockField(_Owned, models.PositiveIntegerField):
    """`num_in_stock`."""

    level = "in_stock"


class AllocatedField(_Owned, models.IntegerField):
    """`num_allocated`."""

    level = "allocated"

    def get_internal_type(self):
        """Asked for by migrations and by the database backend."""
        return "IntegerField"
