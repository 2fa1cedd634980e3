"""The stock feed: how much of a SKU can be sold, for marketplaces and whoever else asks."""

from django.http import Http404, JsonResponse
from django.views.decorators.http import require_safe
from oscar.core.loading import get_model


@require_safe
def of_sku(request, sku):
    """What can be sold of a SKU now. What was sold beyond the stock is not less than nothing."""
    record = get_model("partner", "StockRecord").objects.filter(partner_sku=sku).first()
    if record is None:
        raise Http404(f"no such SKU: {sku}")
    return JsonResponse({"sku": sku, "available": max(0, record.net_stock_level)})
