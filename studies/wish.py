"""What a person wants to judge: jokes, posts, captions or replies, and pictures where they are offered, about neutral
topics, their own, or one named."""

import random
from dataclasses import dataclass
from typing import Literal, get_args

from collectors.item import one_line
from engine.profile import Profile
from studies.schedule import PICTURE, TOPICS
from studies.store import Refused

Wanted = Literal["joke", "post", "caption", "reply", "picture"]
MINE = "mine"  # the topics of one's own profile
MAX_ABOUT = 120  # characters of what a person names

# Neutral like TOPICS, and for the same reason; a caption and a picture need a scene in words, a reply something to
# answer.
SCENES = (
    "a cat sitting in an office chair in front of two managers", "a penguin waiting at a bus stop in the rain",
    "an astronaut looking for the keys to the spaceship", "two snails at a traffic light",
    "a king trying to assemble a wardrobe", "a robot vacuum cleaner stuck under a sofa", "a dog giving a lecture",
    "a man carrying far too many shopping bags", "a pigeon inside a bank", "an empty birthday party with one balloon",
    "a bear reading the menu of a picnic place", "a wizard in a queue at the post office", "a goat on top of a car",
    "a very small umbrella over a very large man", "a knight at the dentist", "a duck leading a guided tour",
    "a lighthouse keeper who ordered pizza", "three owls in a meeting at noon", "a snowman in a travel agency",
    "a ghost at a job interview", "a shark with a rubber ring", "a grandmother winning at a video game",
    "a horse looking at a bicycle", "an office plant that has grown over the desk",
)  # fmt: skip
POSTS = (
    "My neighbor has started learning the trumpet.", "I have been on hold for two hours and know the song by heart.",
    "We bought a smart fridge and it has opinions.", "My alarm clock and I are no longer speaking.",
    "First day of the diet: it is 9 am and I am already proud.", "The cat has learned how to open doors.",
    "I finally cleaned my keyboard. There was a whole lunch in it.", "Our meeting about fewer meetings ran over.",
    "I walked ten thousand steps today, all of them to the kitchen.", "My printer works again. I did nothing.",
    "I told my plants about my day and one of them died.", "The gym sent me a birthday card. We have never met.",
    "My phone says I had a restful night. I was there, I did not.", "The toddler has hidden the car keys again.",
    "I tried to cook something from the internet.", "My umbrella survived exactly one wind.",
    "I have lost my glasses and cannot look for them without my glasses.", "The bus was on time and I was not ready.",
    "I was told to dress for the job I want; the pool is nice.", "My dog has eaten the instructions.",
    "Today I said 'you too' to a waiter.", "There are eleven remote controls and none is for this.",
    "I painted the wall myself, and also the floor.", "My horoscope warned me, but it came by post.",
)  # fmt: skip
POOLS: dict[str, tuple[str, ...]] = {"joke": TOPICS, "post": TOPICS, "caption": SCENES, "reply": POSTS, PICTURE: SCENES}


@dataclass(frozen=True, slots=True)
class Wish:
    """`about` is "" for the pool of the kind, MINE for the person's topics, anything else is what they named."""

    kind: Wanted = "joke"
    about: str = ""

    @classmethod
    def of(cls, kind: str, about: str, pictures: bool = False) -> "Wish":
        """As the page says it. Raises Refused for a kind that is none, or not offered."""
        offered = [known for known in get_args(Wanted) if pictures or known != PICTURE]
        if kind not in offered:
            raise Refused(f"there is no such kind here: use one of {', '.join(offered)}")
        return cls(kind, one_line(about)[:MAX_ABOUT])  # type: ignore[arg-type]

    @property
    def pictures(self) -> bool:
        """Whether it is for pictures."""
        return self.kind == PICTURE

    @property
    def parts(self) -> tuple[str, ...]:
        """What tells its schedule from others; () for jokes about neutral topics."""
        return () if self == ANYTHING else (f"kind {self.kind}", f"about {self.about}")

    def payload(self, seed: int, position: int, topic: str, profile: Profile) -> str:
        """What the pair at `position` is about: pure, the same on any machine. `topic` is the schedule's own."""
        if self.about == MINE and self.kind in ("joke", "post", PICTURE):
            mine = [told.label for told in profile.topics if len(told.examples) > 1]
            return mine[position % len(mine)] if mine else topic
        if self.about and self.about != MINE:
            return self.about
        pool = POOLS[self.kind]
        if pool is TOPICS:
            return topic
        cycle, turn = divmod(position, len(pool))
        return random.Random(f"{seed} {self.kind} {cycle}").sample(pool, len(pool))[turn]


ANYTHING = Wish()
