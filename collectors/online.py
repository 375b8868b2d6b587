"""The sources on the network that a name and an address are enough for; each is imported only when it is asked."""

from collections.abc import Callable
from typing import NamedTuple

from collectors.bluesky import Bluesky
from collectors.item import Collector
from collectors.mastodon import Mastodon
from collectors.rss import Feed


class Online(NamedTuple):
    title: str
    open: Callable[[str, str], Collector]  # with an address or handle, and an access token or ""


ONLINE = {
    "feed": Online("Feed (RSS or Atom)", lambda address, token: Feed(address)),
    "bluesky": Online("Bluesky", lambda handle, token: Bluesky(handle)),
    "mastodon": Online("Mastodon", Mastodon),
}
