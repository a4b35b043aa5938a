"""One simulated customer: the names they go by on each channel, and what a sender says of them."""

from typing import Any

from ingest.simulation.world import SEGMENT, Happening, World

_FIRST = (
    "Ada", "Alan", "Amara", "Anna", "Ben", "Carla", "Chen", "David", "Dora", "Elif", "Emma", "Farid", "Grace",
    "Hana", "Hugo", "Ines", "Ivan", "Jana", "Jonas", "Kofi", "Lara", "Leo", "Lin", "Maria", "Mateo", "Mina",
    "Noah", "Nora", "Olga", "Omar", "Paul", "Priya", "Rosa", "Sara", "Tariq", "Tessa", "Tom", "Vera", "Yuki",
    "Zoe",
)  # fmt: skip
_LAST = (
    "Adeyemi", "Bauer", "Berg", "Costa", "Diaz", "Evans", "Fischer", "Garcia", "Haddad", "Hughes", "Ito",
    "Jansen", "Kaya", "Keller", "Khan", "Kowalski", "Lopez", "Martin", "Mendes", "Moreau", "Nguyen", "Novak",
    "Okafor", "Olsen", "Patel", "Petrov", "Rossi", "Sato", "Schmidt", "Silva", "Singh", "Smith", "Svensson",
    "Tan", "Wagner", "Weber", "Wilson", "Yilmaz", "Zhang", "Zimmer",
)  # fmt: skip
PERSONAS = ("Bargain hunter", "Busy professional", "Careful researcher", "Small business", "Loyal fan")
_LOCALES = (
    ("en-GB", "Europe/London"),
    ("de-DE", "Europe/Berlin"),
    ("fr-FR", "Europe/Paris"),
    ("en-US", "America/New_York"),
)
_DEVICES: tuple[dict[str, Any], ...] = (
    {"device": {"type": "desktop"}, "os": {"name": "Windows"}},
    {"device": {"type": "desktop"}, "os": {"name": "macOS"}},
    {"device": {"type": "mobile"}, "os": {"name": "iOS"}},
    {"device": {"type": "mobile"}, "os": {"name": "Android"}},
)
CAMPAIGNS: tuple[dict[str, str], ...] = (
    {"name": "spring-sale", "source": "google", "medium": "cpc"},
    {"name": "brand", "source": "google", "medium": "cpc"},
    {"name": "retargeting", "source": "facebook", "medium": "paid-social"},
    {"name": "how-to-choose", "source": "instagram", "medium": "paid-social"},
    {"name": "newsletter-march", "source": "newsletter", "medium": "email"},
    {"name": "friends", "source": "partner", "medium": "referral"},
)


class Customer:
    """A customer and their names. `account`: they have one, and where they log in it is used."""

    __slots__ = (
        "account", "anonymous_id", "bought", "campaign", "context", "devices", "email", "logged_in", "name",
        "number", "persona", "phone", "phone_known", "stripe_id", "user_id", "world",
    )  # fmt: skip

    def __init__(self, world: World, number: int, shared_phone: str | None = None) -> None:
        tag = world.tag
        self.world = world
        self.number = number
        self.name = f"{world.pick(_FIRST)} {world.pick(_LAST)}"
        self.anonymous_id = f"anon-{tag}-{number:x}"
        self.user_id = f"user-{tag}-{number:x}"
        self.email = f"{self.name.lower().replace(' ', '.')}.{tag[:4]}{number:x}@example.com"
        # 555 is no area code, so nobody has this number
        self.phone = shared_phone or f"+1555{(int(tag, 16) + 7919 * number) % 10_000_000:07}"
        self.stripe_id = f"cus_{tag}{number:x}"
        self.persona = world.pick(PERSONAS)
        self.campaign = world.pick(CAMPAIGNS) if world.happens(0.72) else None
        self.account = False
        self.logged_in = False
        self.phone_known = False
        self.bought = 0
        self.devices = 1
        self.context: dict[str, Any] = {}
        self.pick_up(0)

    def pick_up(self, device: int) -> None:
        """Go on with another device: its browser knows nobody yet."""
        world = self.world
        locale, timezone = _LOCALES[self.number % len(_LOCALES)]
        kind = _DEVICES[(self.number // 4 + device) % len(_DEVICES)]
        self.context = {"locale": locale, "timezone": timezone, **kind}
        if device:
            self.anonymous_id = f"anon-{world.tag}-{self.number:x}-{device}"
            self.logged_in = False

    def arrive(self, *, by_campaign: bool) -> None:
        """A new visit: the context of its first page says which campaign brought them."""
        self.context = {key: value for key, value in self.context.items() if key != "campaign"}
        if by_campaign and self.campaign:
            self.context["campaign"] = self.campaign

    def track(self, at: int, event: str, properties: dict[str, Any]) -> Happening:
        """Something they did on the web."""
        call = {
            "type": "track",
            "event": event,
            "messageId": self.world.serial(),
            "timestamp": self.world.iso(at),
            "anonymousId": self.anonymous_id,
            "properties": properties,
            "context": self.context,
        }
        if self.logged_in:
            call["userId"] = self.user_id
        return at, SEGMENT, call

    def page(self, at: int, name: str, path: str, category: str | None = None, search: str = "") -> Happening:
        """A page they looked at."""
        url = f"https://shop.example{path}{search}"
        call = {
            "type": "page",
            "name": name,
            "messageId": self.world.serial(),
            "timestamp": self.world.iso(at),
            "anonymousId": self.anonymous_id,
            "properties": {"url": url, "path": path, "title": name, "search": search},
            "context": self.context,
        }
        if category:
            call["category"] = category
        if self.logged_in:
            call["userId"] = self.user_id
        return at, SEGMENT, call

    def identify(self, at: int, **traits: Any) -> Happening:
        """The browser learns who they are: from here on its anonymous id and their account are one."""
        self.logged_in = True
        self.context = {**self.context, "traits": {"persona": self.persona}}
        return self._identification(at, self.anonymous_id, traits)

    def found_by_agent(self, at: int, contact_id: str, **traits: Any) -> Happening:
        """An agent finds their account while they talk: it, contact and trait are one."""
        return self._identification(at, contact_id, traits)

    def contact(self, at: int, contact_id: str, event: str, properties: dict[str, Any]) -> Happening:
        """Something in a chat or call, under the name of that contact alone."""
        return (
            at,
            SEGMENT,
            {
                "type": "track",
                "event": event,
                "messageId": self.world.serial(),
                "timestamp": self.world.iso(at),
                "anonymousId": contact_id,
                "properties": properties,
            },
        )

    def _identification(self, at: int, anonymous_id: str, traits: dict[str, Any]) -> Happening:
        return (
            at,
            SEGMENT,
            {
                "type": "identify",
                "messageId": self.world.serial(),
                "timestamp": self.world.iso(at),
                "anonymousId": anonymous_id,
                "userId": self.user_id,
                "traits": {"persona": self.persona, **traits},
            },
        )
