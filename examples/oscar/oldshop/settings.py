"""Settings of the old shop. What differs from place to place comes from the environment:

OSCAR_DATA        folder for what the shop writes: secrets, pictures, static files, search index (default: ./data)
OSCAR_PG_HOST, OSCAR_PG_PORT, OSCAR_PG_USER, OSCAR_PG_PASSWORD, OSCAR_PG_DATABASE
OSCAR_HOSTS       host names the shop answers to, with commas between (default: localhost,127.0.0.1)
BANYAN_PLUGIN     1 puts the plugin in; see the end of this file
"""

import os
import secrets
from pathlib import Path

from oscar.defaults import *  # noqa: F403  Oscar's settings are meant to be taken this way

BASE_DIR = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("OSCAR_DATA", BASE_DIR / "data")).resolve()
DATA.mkdir(parents=True, exist_ok=True)


def _secret(name: str) -> str:
    """A secret of this installation: made once, kept in a file that only its owner can read."""
    path = DATA / name
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
    except FileExistsError:
        pass
    return path.read_text()


SECRET_KEY = _secret("secret.key")
DEBUG = False
ALLOWED_HOSTS = os.environ.get("OSCAR_HOSTS", "localhost,127.0.0.1").split(",")
ROOT_URLCONF = "oldshop.urls"
WSGI_APPLICATION = "oldshop.wsgi.application"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.sites",
    "django.contrib.flatpages",
    "oscar.config.Shop",
    "oscar.apps.analytics.apps.AnalyticsConfig",
    "oscar.apps.checkout.apps.CheckoutConfig",
    "oscar.apps.address.apps.AddressConfig",
    "oscar.apps.shipping.apps.ShippingConfig",
    "oscar.apps.catalogue.apps.CatalogueConfig",
    "oscar.apps.catalogue.reviews.apps.CatalogueReviewsConfig",
    "oscar.apps.communication.apps.CommunicationConfig",
    "oscar.apps.partner.apps.PartnerConfig",
    "oscar.apps.basket.apps.BasketConfig",
    "oscar.apps.payment.apps.PaymentConfig",
    "oscar.apps.offer.apps.OfferConfig",
    "oldshop.orders.apps.OrderConfig",  # the shop's own fork: shipping and cancelling move stock
    "oscar.apps.customer.apps.CustomerConfig",
    "oscar.apps.search.apps.SearchConfig",
    "oscar.apps.voucher.apps.VoucherConfig",
    "oscar.apps.wishlists.apps.WishlistsConfig",
    "oscar.apps.dashboard.apps.DashboardConfig",
    "oscar.apps.dashboard.reports.apps.ReportsDashboardConfig",
    "oscar.apps.dashboard.users.apps.UsersDashboardConfig",
    "oscar.apps.dashboard.orders.apps.OrdersDashboardConfig",
    "oscar.apps.dashboard.catalogue.apps.CatalogueDashboardConfig",
    "oscar.apps.dashboard.offers.apps.OffersDashboardConfig",
    "oscar.apps.dashboard.partners.apps.PartnersDashboardConfig",
    "oscar.apps.dashboard.pages.apps.PagesDashboardConfig",
    "oscar.apps.dashboard.ranges.apps.RangesDashboardConfig",
    "oscar.apps.dashboard.reviews.apps.ReviewsDashboardConfig",
    "oscar.apps.dashboard.vouchers.apps.VouchersDashboardConfig",
    "oscar.apps.dashboard.communications.apps.CommunicationsDashboardConfig",
    "oscar.apps.dashboard.shipping.apps.ShippingDashboardConfig",
    "widget_tweaks",
    "haystack",
    "treebeard",
    "sorl.thumbnail",
    "django_tables2",
    "oldshop",
]
# The forks have no tables of their own; they go on with Oscar's.
MIGRATION_MODULES = {
    "order": "oscar.apps.order.migrations",
    "partner": "oscar.apps.partner.migrations",
    "basket": "oscar.apps.basket.migrations",
}
SITE_ID = 1
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
    "oscar.apps.basket.middleware.BasketMiddleware",
]
AUTHENTICATION_BACKENDS = [
    "oscar.apps.customer.auth_backends.EmailBackend",
    "django.contrib.auth.backends.ModelBackend",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.template.context_processors.i18n",
                "django.contrib.messages.context_processors.messages",
                "oscar.apps.search.context_processors.search_form",
                "oscar.apps.checkout.context_processors.checkout",
                "oscar.apps.communication.notifications.context_processors.notifications",
                "oscar.core.context_processors.metadata",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("OSCAR_PG_DATABASE", "oscar"),
        "USER": os.environ.get("OSCAR_PG_USER", "postgres"),
        "PASSWORD": os.environ.get("OSCAR_PG_PASSWORD", ""),
        "HOST": os.environ.get("OSCAR_PG_HOST", "127.0.0.1"),
        "PORT": os.environ.get("OSCAR_PG_PORT", "5432"),
        "ATOMIC_REQUESTS": True,
        "CONN_MAX_AGE": 60,
        "OPTIONS": {"application_name": "oscar"},
        # The plugin's tests run on a seeded database that they may change: `manage.py test --keepdb`.
        "TEST": {"NAME": os.environ.get("OSCAR_PG_TEST_DATABASE")},
    }
}
# Oscar's listing pages need a search engine that can count facets; its "simple" one cannot.
HAYSTACK_CONNECTIONS = {
    "default": {"ENGINE": "haystack.backends.whoosh_backend.WhooshEngine", "PATH": str(DATA / "index")}
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = DATA / "static"
MEDIA_URL = "/media/"
MEDIA_ROOT = DATA / "media"
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}

OSCAR_SHOP_NAME = "Old Shop"
OSCAR_SHOP_TAGLINE = "since 2011"
OSCAR_DEFAULT_CURRENCY = "GBP"
OSCAR_ALLOW_ANON_CHECKOUT = True
OSCAR_INITIAL_ORDER_STATUS = OSCAR_INITIAL_LINE_STATUS = "Pending"
OSCAR_ORDER_STATUS_PIPELINE = {"Pending": ("Shipped", "Cancelled"), "Shipped": (), "Cancelled": ()}
OSCAR_LINE_STATUS_PIPELINE = {"Pending": ("Shipped", "Cancelled"), "Shipped": (), "Cancelled": ()}
OSCAR_ORDER_STATUS_CASCADE = {"Shipped": "Shipped", "Cancelled": "Cancelled"}

# What a team adds to put the plugin in: forks in the place of Oscar's apps, the app itself, a middleware, four settings.
if os.environ.get("BANYAN_PLUGIN") == "1":
    _FORKS = {
        "oscar.apps.partner.apps.PartnerConfig": "banyan_plugin.partner.apps.PartnerConfig",
        "oscar.apps.basket.apps.BasketConfig": "banyan_plugin.basket.apps.BasketConfig",
        "oldshop.orders.apps.OrderConfig": "banyan_plugin.order.apps.OrderConfig",
        "oscar.apps.dashboard.apps.DashboardConfig": "banyan_plugin.dashboard.apps.DashboardConfig",
    }
    INSTALLED_APPS = ["banyan_plugin"] + [_FORKS.get(app, app) for app in INSTALLED_APPS]
    MIDDLEWARE += ["banyan_plugin.middleware.BanyanMiddleware"]
    BANYAN_URL = os.environ["BANYAN_URL"]
    BANYAN_KEY_FILE = os.environ["BANYAN_KEY_FILE"]
    BANYAN_LOCATION = os.environ.get("BANYAN_LOCATION", "main")
    # Who reads stock from Banyan and not from the old table any more: see banyan_plugin/references.py.
    BANYAN_READS = {name for name in os.environ.get("BANYAN_READS", "").split(",") if name}
