"""What can keep Banyan from saying yes."""


class Refused(Exception):
    """Banyan says no, and will say so again: `slug` is the name of the reason, the text is for people."""

    def __init__(self, slug: str, detail: str):
        super().__init__(detail)
        self.slug = slug


class NeverAsItIs(Refused):
    """What was asked for cannot be done as it stands, however often it is asked: too many lines, a SKU that Banyan cannot have."""


class OutOfStock(Refused):
    """There is not enough. `short` has, for the index of each line that falls short, the units it could have."""

    def __init__(self, detail: str, short: dict[int, int]):
        super().__init__("out-of-stock", detail)
        self.short = short


class NotLeading(Refused):
    """Banyan does not lead at this moment: leadership is changing hands. It takes a moment."""

    def __init__(self, detail: str):
        super().__init__("not-leading", detail)


class Unreachable(Exception):
    """No answer that can be relied on came in time. What was asked for may have been done."""


class PhaseUnknown(Unreachable):
    """Who leads cannot be read: the shop's database role lacks a right. Deciding all the same could sell everything twice."""


class NotOurs(Exception):
    """Somebody tried to write a number that Banyan owns now."""
