"""What was bought, and for how much, as Segment's e-commerce events say it."""

from typing import Any

from ingest import privacy
from ingest.sources import reader as read

_ITEM_FIELDS = ("product_id", "sku", "name", "price", "quantity")


def take_amount(rest: dict[str, Any], fields: dict[str, Any]) -> None:
    """Move the amount from the properties to `fields`: major units as text, and the ISO code of the currency.

    It is `total`, else `revenue`, `value`, or the sum of price × quantity; without a currency there is none.
    """
    currency = read.currency_of(rest["currency"])
    if currency is None:
        return
    for name in ("total", "revenue", "value"):
        if name in rest and (amount := read.major_units(rest[name], currency)) is not None:
            del rest[name]
            break
    else:
        products = rest.get("products")
        amount = _sum(products if isinstance(products, list) else [rest], currency)
        if amount is None:
            return
    del rest["currency"]
    fields["amount"], fields["currency"] = amount, currency


def _sum(products: list[Any], currency: str) -> str | None:
    total = 0.0
    priced = False
    for product in products:
        said = read.object_of(product)
        price = read.number_of(said.get("price"))
        if price is not None:
            quantity = read.number_of(said.get("quantity"))
            total += price * (1 if quantity is None else quantity)
            priced = True
    return read.major_units(f"{total:.4f}".rstrip("0").rstrip("."), currency) if priced else None


def items_of(products: object) -> tuple[dict[str, Any], ...]:
    """What an order's products say of themselves that we keep; nothing of what is no list of objects."""
    if not isinstance(products, list):
        return ()
    return tuple(
        {name: privacy.cleaned(product[name]) for name in _ITEM_FIELDS if product.get(name) is not None}
        for product in products[: read.MOST_ITEMS]
        if isinstance(product, dict)
    )
