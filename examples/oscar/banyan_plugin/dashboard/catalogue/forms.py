"""The stock form of the dashboard.

Oscar writes every field of the form each time, so whoever corrects a price also sets the stock back to what it was when the
page was opened. Here the number counts only if it was changed on the page.
"""

from oscar.apps.dashboard.catalogue import forms


class StockRecordForm(forms.StockRecordForm):
    """Oscar's form."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        field = self.fields.get("num_in_stock")
        if field is not None and self.instance.pk:
            # The page remembers what it showed: it is that which a change is measured by.
            field.show_hidden_initial = True

    def _post_clean(self):
        if self.instance.pk and "num_in_stock" in self.fields and "num_in_stock" not in self.changed_data:
            # Not touched: the record keeps what it has, whatever that is by now.
            self.cleaned_data.pop("num_in_stock", None)
        super()._post_clean()

    class Meta(forms.StockRecordForm.Meta):
        pass
