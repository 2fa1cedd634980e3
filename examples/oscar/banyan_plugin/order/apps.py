"""The fork's place in Django."""

from oldshop.orders import apps


class OrderConfig(apps.OrderConfig):
    """The shop's app under the plugin's name."""

    name = "banyan_plugin.order"
