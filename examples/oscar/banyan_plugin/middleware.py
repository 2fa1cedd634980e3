"""Around each page: which reference it is, what was read for it, and what becomes of a reservation whose order failed."""

from django.db import InterfaceError, OperationalError

from banyan_plugin import levels, references, reservations


class BanyanMiddleware:
    """The last in the list, so that it is nearest to the page."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        levels.begin_page()
        with references.working_for(references.OTHER_PAGES):
            try:
                return self.get_response(request)
            finally:
                # Behind the page's commit or rollback. A lost connection leaves open which of the two it was.
                reservations.abandon(certain=not getattr(request, "banyan_commit_unknown", False))
                levels.end_page()

    def process_view(self, request, view, args, kwargs):
        """Names the reference, once it is known which page it is."""
        references.name_page(references.of_page(request.resolver_match))

    def process_exception(self, request, exception):
        """Notes a failure that may have come from the commit itself."""
        if isinstance(exception, (OperationalError, InterfaceError)):
            request.banyan_commit_unknown = True
