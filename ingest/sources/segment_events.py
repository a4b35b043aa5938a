"""What the events of Segment's clients are called, and the types that they mean.

https://segment.com/docs/connections/spec/
"""

from functools import lru_cache

from models.vocabulary import TYPES

_EVENTS: dict[str, str] = {
    **{type_: type_ for type_ in TYPES},
    # e-commerce, version 2
    "products_searched": "search",
    "product_list_viewed": "search",
    "product_list_filtered": "search",
    "promotion_viewed": "ad_impression",
    "promotion_clicked": "ad_click",
    "product_clicked": "product_view",
    "product_viewed": "product_view",
    "product_added": "add_to_cart",
    "product_removed": "remove_from_cart",
    "cart_viewed": "page_view",
    "checkout_started": "checkout_started",
    "checkout_step_viewed": "custom",
    "checkout_step_completed": "custom",
    "payment_info_entered": "custom",
    "order_completed": "purchase",
    "order_updated": "custom",
    "order_refunded": "refund_issued",
    "order_cancelled": "order_cancelled",
    "coupon_entered": "custom",
    "coupon_applied": "custom",
    "coupon_denied": "coupon_denied",
    "coupon_removed": "custom",
    "product_added_to_wishlist": "wishlist_added",
    "product_removed_from_wishlist": "custom",
    "wishlist_product_added_to_cart": "add_to_cart",
    "product_shared": "referral_sent",
    "cart_shared": "referral_sent",
    "product_reviewed": "review_posted",
    # e-commerce, version 1
    "searched_products": "search",
    "viewed_product_category": "search",
    "viewed_product_list": "search",
    "viewed_promotion": "ad_impression",
    "clicked_promotion": "ad_click",
    "clicked_product": "product_view",
    "viewed_product": "product_view",
    "added_product": "add_to_cart",
    "removed_product": "remove_from_cart",
    "viewed_cart": "page_view",
    "started_checkout": "checkout_started",
    "viewed_checkout_step": "custom",
    "completed_checkout_step": "custom",
    "completed_order": "purchase",
    "updated_order": "custom",
    "refunded_order": "refund_issued",
    "cancelled_order": "order_cancelled",
    "order_canceled": "order_cancelled",
    # common names beside these
    "account_created": "signed_up",
    "sign_up": "signed_up",
    "signed_in": "login",
    "logged_in": "login",
    "invite_sent": "referral_sent",
    "error_shown": "error_seen",
    "form_viewed": "form_started",
    "document_downloaded": "document_download",
    "file_downloaded": "document_download",
    "products_compared": "product_compare",
}  # fmt: skip

_PAGE_TYPES = {"blog": "content_view", "docs": "content_view", "help": "help_article_viewed"}


@lru_cache(maxsize=4_096)
def type_of_event(name: str) -> str | None:
    """The type that an event's name means, however it is written; None if no mapping knows it."""
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return _EVENTS.get("_".join(words))


def type_of_page(category: str | None) -> str:
    """The type that a page call with this category means."""
    return _PAGE_TYPES.get((category or "").lower(), "page_view")
