"""The lives of simulated customers: how they come, look round, buy, use, need help, recommend, leave."""

from collections.abc import Iterator
from typing import Any

from ingest.simulation import billing
from ingest.simulation.customer import Customer
from ingest.simulation.service import help_wanted
from ingest.simulation.world import DAY, HOUR, MINUTE, SECOND, Happening, Strand, World

_PRODUCTS: tuple[tuple[str, str, int], ...] = (
    ("Desk lamp", "lighting", 4900), ("Floor lamp", "lighting", 12900), ("Office chair", "seating", 24900),
    ("Stool", "seating", 6900), ("Standing desk", "desks", 49900), ("Corner desk", "desks", 32900),
    ("Bookshelf", "storage", 15900), ("Drawer unit", "storage", 9900), ("Rug", "textiles", 11900),
    ("Blanket", "textiles", 3900), ("Wall clock", "decoration", 2900), ("Vase", "decoration", 1900),
)  # fmt: skip
_SEARCHES = ("desk", "lamp small", "chair back pain", "shelf white", "delivery time", "gift")
_ARTICLES = ("how-to-choose-a-chair", "small-flats", "light-at-work", "care-for-wood")
_FEATURES = ("Room planner", "Order tracking", "Saved lists", "Invoices")

_UTM = (("source", "source"), ("medium", "medium"), ("campaign", "name"))


def live(world: World, number: int, at: int, shared_phone: str | None) -> tuple[Customer, Strand]:
    """A customer, and what happens to them from `at` on."""
    c = Customer(world, number, shared_phone)
    [story] = world.chance.choices(_STORIES, _WEIGHTS)
    return c, story(c, at)


def _passer_by(c: Customer, at: int) -> Iterator[Happening]:
    """Comes by an advert, looks at some pages, and is never seen again, or once or twice more."""
    while True:
        for happening in _look_round(c, at, interest=0.3):
            yield happening
            at = happening[0]
        if not c.world.happens(0.3):
            return
        at = c.world.later(at, 3 * DAY)


def _shopper(c: Customer, at: int) -> Iterator[Happening]:
    """Looks round, comes back, fills a cart, leaves it or pays; then they may need help or recommend us."""
    world = c.world
    for visit in range(world.number(1, 5)):
        if visit and world.happens(0.15):
            c.devices += 1
            c.pick_up(c.devices - 1)
        for happening in _look_round(c, at, interest=0.75):
            yield happening
            at = happening[0]
        if world.happens(0.07):
            world.begin(help_wanted(c, at + world.moment(4 * MINUTE), "product advice"))
        if world.happens(0.22 + 0.1 * visit):
            bought = c.bought
            for happening in _shop(c, at + world.moment(40 * SECOND)):
                yield happening
                at = happening[0]
            if c.bought > bought:
                world.begin(_afterwards(c, at))
        at = world.later(at, 2.5 * DAY)


def _member(c: Customer, at: int) -> Iterator[Happening]:
    """Was a customer before: logs in, uses the account, buys again, needs help."""
    world = c.world
    c.bought, c.account = 1, True
    for _ in range(world.number(1, 5)):
        c.arrive(by_campaign=world.happens(0.25))
        yield c.page(at, "Home", "/")
        for happening in _use_account(c, at + world.moment(30 * SECOND)):
            yield happening
            at = happening[0]
        if world.happens(0.35):
            for happening in _shop(c, at + world.moment(MINUTE)):
                yield happening
                at = happening[0]
            world.begin(_afterwards(c, at))
        if world.happens(0.2):
            world.begin(help_wanted(c, at + world.moment(10 * MINUTE)))
        at = world.later(at, 6 * DAY)


def _subscriber(c: Customer, at: int) -> Iterator[Happening]:
    """Pays by the week or month; half of them have for long, the others try it first."""
    world = c.world
    c.account = True
    if world.happens(0.5):
        c.bought = 1
        world.begin(billing.subscription(c, at + world.moment(2 * DAY), begins=False))
    else:
        for happening in _look_round(c, at, interest=0.9):
            yield happening
            at = happening[0]
        yield c.page(at + world.moment(30 * SECOND), "Pricing", "/pricing")
        at += world.moment(2 * MINUTE)
        yield c.track(at, "Signed Up", {"plan": "trial"})
        yield c.identify(at + SECOND, email=c.email, name=c.name)
        yield c.track(at + 2 * SECOND, "Trial Started", {"plan": "box"})
        at = world.later(at, 4 * DAY)
        if not world.happens(0.62):
            return
        c.bought = 1
        world.begin(billing.subscription(c, at, begins=True))
    for _ in range(world.number(2, 9)):
        at = world.later(at, 4 * DAY)
        c.arrive(by_campaign=False)
        for happening in _use_account(c, at):
            yield happening
            at = happening[0]
        if world.happens(0.1):
            world.begin(help_wanted(c, at + world.moment(15 * MINUTE)))
        if world.happens(0.12):
            world.begin(_recommend(c, at + world.moment(5 * MINUTE)))


def _caller(c: Customer, at: int) -> Iterator[Happening]:
    """Rings rather than clicks; most have an account that an agent finds."""
    world = c.world
    c.account = world.happens(0.8)
    c.bought = 1
    for _ in range(world.number(1, 3)):
        for happening in help_wanted(c, at, by="call" if world.happens(0.8) else "chat"):
            yield happening
            at = happening[0]
        at = world.later(at, 8 * DAY)


def _look_round(c: Customer, at: int, *, interest: float) -> Iterator[Happening]:
    """A visit: where they land, what they look at. `interest` 0–1: how likely they go on after each page."""
    world = c.world
    c.arrive(by_campaign=world.happens(0.8))
    campaign = c.context.get("campaign")
    if campaign:
        search = "?" + "&".join(f"utm_{key}={campaign[of]}" for key, of in _UTM)
        yield c.page(at, "Home", "/", search=search)
    elif world.happens(0.3):
        article = world.pick(_ARTICLES)
        yield c.page(at, article.replace("-", " ").capitalize(), f"/blog/{article}", "blog")
    else:
        yield c.page(at, "Home", "/")
    if not world.happens(0.35 + 0.6 * interest):
        return
    for _ in range(world.number(1, 4)):
        at += 3 * SECOND + world.about(35 * SECOND)
        chance = world.random()
        if chance < 0.62:
            yield c.track(at, "Product Viewed", _product(world))
        elif chance < 0.74:
            yield c.page(at, "All products", "/products")
        elif chance < 0.84:
            yield c.track(at, "Products Searched", {"query": world.pick(_SEARCHES)})
        elif chance < 0.88:
            yield c.track(at, "Product Added to Wishlist", _product(world))
        elif chance < 0.92:
            yield c.track(at, "product_compare", {"products": [_product(world), _product(world)]})
        elif chance < 0.95:
            yield c.track(at, "document_download", {"file": "catalogue.pdf"})
        else:
            yield c.track(at, "form_started", {"form": "newsletter"})
            if world.happens(0.6):
                at += world.moment(40 * SECOND)
                yield c.track(at, "form_submitted", {"form": "newsletter"})
                yield c.track(at + SECOND, "newsletter_subscribed", {"list": "news"})
        if not world.happens(0.4 + 0.5 * interest):
            return


def _shop(c: Customer, at: int) -> Iterator[Happening]:
    """Something goes into the cart. They leave it there, come back for it, or go to the checkout and pay."""
    world = c.world
    product = _product(world)
    cents = round(product["price"] * 100)
    yield c.track(at, "Product Viewed", product)
    at += world.moment(40 * SECOND)
    yield c.track(at, "Product Added", {**product, "quantity": 1})
    if world.happens(0.08):
        yield c.track(at + world.moment(50 * SECOND), "Product Removed", product)
        return
    if world.happens(0.38):
        if world.happens(0.65):
            return
        at = world.later(at, 10 * HOUR)
        yield c.page(at, "Cart", "/cart")
    at += world.moment(70 * SECOND)
    if not c.logged_in and world.happens(0.8):
        if not c.account:
            c.account = True
            yield c.track(at, "Signed Up", {"method": "checkout"})
        else:
            yield c.track(at, "login", {"method": "password"})
        if world.happens(0.4):
            c.phone_known = True
            yield c.identify(at + SECOND, email=c.email, name=c.name, phone=c.phone)
        else:
            yield c.identify(at + SECOND, email=c.email, name=c.name)
    at += world.moment(30 * SECOND)
    yield c.track(at, "Checkout Started", {"value": product["price"], "currency": "EUR"})
    if world.happens(0.06):
        yield c.track(at + world.moment(30 * SECOND), "coupon_denied", {"coupon": "SPRING"})
    at += world.moment(100 * SECOND)
    if world.incident("checkout_bug", at):
        for _ in range(world.number(1, 3)):
            yield c.track(at, "error_seen", {"code": "checkout_unavailable", "outcome": "failure"})
            at += world.moment(30 * SECOND)
        return
    if world.happens(0.35):
        return
    yield from _pay(c, at, product, cents)


def _pay(c: Customer, at: int, product: dict[str, Any], cents: int) -> Iterator[Happening]:
    """By card on our page, on the provider's page, or on account; a card may be declined."""
    world = c.world
    hosted = world.happens(0.35)
    session = billing.checkout_session(c, at, cents, known=c.logged_in)
    tries = 0
    while (outage := world.incident("payment_outage", at)) or world.happens(0.05):
        tries += 1
        if outage:
            yield c.track(at, "error_seen", {"code": "payment_unavailable", "outcome": "failure"})
        yield billing.event(world, at + SECOND, "checkout.session.async_payment_failed", session)
        if tries == 3 or not world.happens(0.7):
            if hosted:
                expired = {**session, "status": "expired"}
                yield billing.event(
                    world, at + world.moment(40 * MINUTE), "checkout.session.expired", expired
                )
            return
        at += world.moment(90 * SECOND)
    c.bought += 1
    if hosted:
        complete = {**session, "payment_status": "paid", "status": "complete"}
        yield billing.event(world, at, "checkout.session.completed", complete)
    else:
        order = {
            "order_id": world.serial(),
            "total": product["price"],
            "currency": "EUR",
            "products": [product],
        }
        yield c.track(at, "Order Completed", order)
        if c.persona == "Small business":
            world.begin(billing.on_account(c, at + world.moment(HOUR), cents))
    if world.happens(0.06):
        world.begin(_give_back(c, at + world.moment(4 * DAY), cents))


def _give_back(c: Customer, at: int, cents: int) -> Iterator[Happening]:
    yield c.track(at, "refund_requested", {"reason": "not as expected", "topic": "returns"})
    yield billing.refunded(c, at + c.world.moment(2 * DAY), cents)


def _afterwards(c: Customer, at: int) -> Iterator[Happening]:
    """After a purchase: a look where the parcel is, help, a score, a review, a recommendation."""
    world = c.world
    if world.happens(0.6):
        at += world.moment(10 * HOUR)
        yield c.page(at, "Order status", "/account/orders")
        yield c.track(at + 5 * SECOND, "feature_used", {"feature": "Order tracking"})
        at += MINUTE
    if world.happens(0.2):
        world.begin(help_wanted(c, world.later(at, 2 * DAY)))
    if world.happens(0.4):
        yield from _recommend(c, world.later(at, 3 * DAY))


def _recommend(c: Customer, at: int) -> Iterator[Happening]:
    world = c.world
    liking = world.random() + world.random()  # most are in the middle of 0–2
    if world.happens(0.55):
        yield c.track(at, "nps_submitted", {"nps": min(10, int(3 + liking * 4.5))})
        at += world.moment(5 * MINUTE)
    if world.happens(0.4):
        yield c.track(at, "Product Reviewed", {"rating": min(5, 2 + int(liking * 2)), **_product(world)})
        at += world.moment(5 * MINUTE)
    if liking > 1.1 and world.happens(0.5):
        yield c.track(at, "referral_sent", {"by": "email"})
        at += world.moment(MINUTE)
        if world.happens(0.3):
            yield c.track(at + world.about(2 * DAY), "referral_converted", {})
    elif liking > 0.9 and world.happens(0.3):
        yield c.track(at, "loyalty_reward_earned", {"points": 100})


def _use_account(c: Customer, at: int) -> Iterator[Happening]:
    """Logs in and does what accounts are for; sometimes it fails, and they look for help themselves."""
    world = c.world
    if not c.logged_in:
        yield c.track(at, "login", {"method": "password"})
        at += SECOND
        yield c.identify(at, email=c.email, name=c.name)
    for _ in range(world.number(1, 3)):
        at += world.moment(MINUTE)
        yield c.track(at, "feature_used", {"feature": world.pick(_FEATURES)})
    if world.happens(0.1):
        at += world.moment(20 * SECOND)
        yield c.track(at, "error_seen", {"code": "500", "outcome": "failure"})
        at += world.moment(30 * SECOND)
        yield c.page(at, "Help", "/help/errors", "help")
        if world.happens(0.3):
            yield c.track(at + world.moment(2 * MINUTE), "ticket_created", {"topic": "technical"})


def _product(world: World) -> dict[str, Any]:
    name, category, cents = world.pick(_PRODUCTS)
    return {
        "product_id": name.lower().replace(" ", "-"),
        "name": name,
        "category": category,
        "price": cents / 100,
    }


# Of a hundred new customers, so many live each life
_SHARES = {_passer_by: 34, _shopper: 36, _member: 14, _subscriber: 10, _caller: 6}
_STORIES = tuple(_SHARES)
_WEIGHTS = tuple(_SHARES.values())
