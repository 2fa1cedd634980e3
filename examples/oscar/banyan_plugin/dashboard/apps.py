"""The fork's place in Django."""

from oscar.apps.dashboard import apps


class DashboardConfig(apps.DashboardConfig):
    """Oscar's app under the plugin's name."""

    name = "banyan_plugin.dashboard"
