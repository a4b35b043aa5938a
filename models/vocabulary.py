"""The words of a touchpoint: its channels and its types.

What a type weighs, which phase it stands for and whether it is a moment of truth is the journey model's to
say (`templates/default.yaml`); here is only which words there are.
"""

CHANNELS = ("web", "chat", "voice", "billing")
"""The channels that come with a topic of their own; configuration may add further ones."""

OUTCOMES = ("success", "failure", "abandoned", "resolved", "transferred", "timeout", "pending", "unknown")

ANY = CHANNELS

TYPES: dict[str, tuple[str, ...]] = {
    "ad_impression": ("web",),
    "ad_click": ("web",),
    "page_view": ("web",),
    "content_view": ("web",),
    "search": ("web",),
    "newsletter_subscribed": ("web",),
    "product_view": ("web",),
    "product_compare": ("web",),
    "document_download": ("web",),
    "form_started": ("web",),
    "form_submitted": ("web",),
    "signed_up": ("web",),
    "trial_started": ("web", "billing"),
    "wishlist_added": ("web",),
    "coupon_denied": ("web",),
    "add_to_cart": ("web",),
    "remove_from_cart": ("web",),
    "checkout_started": ("web",),
    "checkout_abandoned": ("web", "billing"),
    "payment_failed": ("billing",),
    "purchase": ("web", "billing"),
    "order_cancelled": ("web",),
    "login": ("web",),
    "feature_used": ("web",),
    "error_seen": ("web",),
    "help_article_viewed": ("web",),
    "ticket_created": ("web", "chat"),
    "ticket_reopened": ("chat",),
    "ticket_resolved": ("web", "chat"),
    "chat_started": ("chat",),
    "chat_message_received": ("chat",),
    "chat_answered": ("chat",),
    "chat_escalated": ("chat",),
    "chat_abandoned": ("chat",),
    "chat_resolved": ("chat",),
    "call_queued": ("voice",),
    "call_answered": ("voice",),
    "call_transferred": ("voice",),
    "call_abandoned": ("voice",),
    "callback_requested": ("voice",),
    "call_resolved": ("voice",),
    "call_analyzed": ("voice",),
    "csat_submitted": ANY,
    "ces_submitted": ANY,
    "invoice_sent": ("billing",),
    "invoice_paid": ("billing",),
    "invoice_overdue": ("billing",),
    "refund_requested": ANY,
    "refund_issued": ("billing",),
    "dispute_opened": ("billing",),
    "subscription_started": ("billing",),
    "subscription_renewed": ("billing",),
    "subscription_upgraded": ("billing",),
    "subscription_downgraded": ("billing",),
    "subscription_cancel_scheduled": ("billing",),
    "subscription_cancelled": ("billing",),
    "loyalty_reward_earned": ("web",),
    "nps_submitted": ANY,
    "review_posted": ("web",),
    "referral_sent": ("web",),
    "referral_converted": ("web",),
    "community_post": ("web",),
    "custom": ANY,
}
"""Every type, with the channels that it is usual on. `custom` is what a sender told and no mapping knows."""
