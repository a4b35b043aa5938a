"""The page that a call of Segment's clients was made on, and the campaign that led there."""

from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from ingest import privacy
from ingest.sources import reader as read
from models.touchpoint import Campaign, Page

_PAGE_FIELDS = ("url", "path", "title", "referrer", "search")
_PAID_MEDIA = frozenset(
    {"cpc", "ppc", "cpm", "paid", "paidsearch", "paid_search", "paid-search", "paid-social"}
)
_CLICK_IDS = ("gclid", "fbclid", "msclkid")


def page_of(said: dict[str, Any], properties: dict[str, Any]) -> Page | None:
    """The page of the context, and what a page call's own properties say of it (they are taken out)."""
    parts: dict[str, str | None] = {}
    for name in _PAGE_FIELDS:
        value = properties.pop(name) if isinstance(properties.get(name), str) else said.get(name)
        if isinstance(value, str) and value:
            value = value[: read.LONGEST_TEXT]
            parts[name] = privacy.without_secrets(value) if "=" in value or "@" in value else value
    return Page(**parts) if parts else None


def campaign_of(said: dict[str, Any], page: Page | None) -> tuple[Campaign | None, bool]:
    """The campaign of the context, else of the page's address; whether a paid click led to the page."""
    query = ""
    if page is not None:
        query = (page.url or "").partition("?")[2].partition("#")[0] or (page.search or "").lstrip("?")
    in_url = _campaign_in(query) if "utm_" in query or "clid=" in query else None
    if not said:
        return (in_url[0], in_url[1]) if in_url else (None, False)
    campaign = Campaign(
        name=read.text_of(said.get("name")),
        source=read.text_of(said.get("source")),
        medium=read.text_of(said.get("medium")),
        term=read.text_of(said.get("term")),
        content=read.text_of(said.get("content")),
        id=read.text_of(said.get("id")),
        click_ids=in_url[0].click_ids if in_url else {},
    )
    return campaign, bool(in_url and in_url[1])


@lru_cache(maxsize=4_096)
def _campaign_in(query: str) -> tuple[Campaign, bool]:
    said = dict(parse_qsl(query))
    clicks = {name: said[name] for name in _CLICK_IDS if said.get(name)}
    medium = said.get("utm_medium")
    campaign = Campaign(
        name=said.get("utm_campaign"),
        source=said.get("utm_source"),
        medium=medium,
        term=said.get("utm_term"),
        content=said.get("utm_content"),
        id=said.get("utm_id"),
        click_ids=clicks,
    )
    paid = "gclid" in clicks or "msclkid" in clicks or (medium or "").lower() in _PAID_MEDIA
    return campaign, paid
