"""Oscar's pages, the pictures of the products, and the stock feed."""

from django.apps import apps
from django.conf import settings
from django.urls import include, path, re_path
from django.views.static import serve

from oldshop import feed

urlpatterns = [
    path("i18n/", include("django.conf.urls.i18n")),
    # A big shop lets its web server do this.
    re_path(r"^media/(?P<path>.*)$", serve, {"document_root": settings.MEDIA_ROOT}),
    path("feeds/stock/<str:sku>", feed.of_sku),
    path("", include(apps.get_app_config("oscar").urls[0])),
]
