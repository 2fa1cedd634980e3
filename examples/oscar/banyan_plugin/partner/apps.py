"""The fork's place in Django."""

from oscar.apps.partner import apps


class PartnerConfig(apps.PartnerConfig):
    """Oscar's app under the plugin's name."""

    name = "banyan_plugin.partner"
