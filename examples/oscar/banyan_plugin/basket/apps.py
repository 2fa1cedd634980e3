"""The fork's place in Django."""

from oscar.apps.basket import apps


class BasketConfig(apps.BasketConfig):
    """Oscar's app under the plugin's name."""

    name = "banyan_plugin.basket"
