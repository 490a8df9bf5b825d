"""What overlay does to be fast and what it does to be safe, each with a way to leave it off."""

from typing import NamedTuple


class Trick(NamedTuple):
    """How overlay does without it: by `FROZENFINDER_WITHOUT`, another registry, or a patch.

    `beside` is what that is compared with: overlay, or overlay without another of the tricks.
    """

    name: str
    what: str
    switch: str = ""
    registry: str = "registry"
    patch: str = ""
    beside: str = "overlay"


TRICKS = (
    Trick("shards", "an index in shards, read only as needed", registry="one_shard"),
    Trick(
        "attributes",
        "`cached` of a spec computed from known parts",
        patch="from frozenfinder.runtime import finder; finder._CACHED_ENDING = ''",
    ),
    Trick("windows", "code and index read in windows", switch="windows"),
    Trick("read-ahead", "wider windows for a recorded boot", switch="read-ahead"),
    Trick("collector", "garbage collection postponed during imports", switch="collector"),
    Trick("patterns", "regular expressions compiled at freeze time", switch="patterns"),
    Trick("texts", "text of a recorded boot compiled at freeze time", switch="texts"),
    Trick("extras", "both of these", switch="patterns,texts"),
    Trick(
        "order",
        "code in the order of a recorded boot",
        switch="patterns,texts",
        registry="unordered",
        beside="extras",
    ),
)
"""Above 1 says what each is worth."""

CHECKS = (
    Trick(
        "digest",
        "the digest check of everything that is read",
        patch="from frozenfinder.runtime import layout; layout.check = lambda *_: None",
    ),
    Trick(
        "stat",
        "the `stat` of each source",
        patch="from frozenfinder.runtime import finder; finder.check_fresh = lambda *_: None",
    ),
)
"""Below 1 says what each costs. Nothing may do without them."""
