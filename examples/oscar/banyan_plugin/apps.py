"""The plugin's place in Django."""

from django.apps import AppConfig


class BanyanConfig(AppConfig):
    """The plugin."""

    name = "banyan_plugin"
    verbose_name = "Banyan"
