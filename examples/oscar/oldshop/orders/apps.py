"""The fork's place in Django."""

from oscar.apps.order import apps


class OrderConfig(apps.OrderConfig):
    """Oscar's app under this shop's name."""

    name = "oldshop.orders"
