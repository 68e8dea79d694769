"""Events like those of Nexmark, few and the same each time: of 50, one is a person and three are auctions there.

Here people and auctions are a larger part, as there are few events in all.
"""

import random
from datetime import datetime, timedelta

PEOPLE, AUCTIONS, BIDS = 25, 50, 260
START = datetime(2015, 7, 15, 23, 58, 30)  # a day ends among the events
SECONDS = 180

# How many columns at the start of a row an UPDATE leaves as they are.
KEYS = {"bid": 0, "auction": 1, "person": 1}


class Generator:
    """Makes rows; `tables` are all of the database."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def tables(self):
        return {
            "person": [self.person(i) for i in range(1, PEOPLE + 1)],
            "auction": [self.auction(i) for i in range(1, AUCTIONS + 1)],
            "bid": [self.bid() for _ in range(BIDS)],
        }

    def row(self, table):
        """A row whose key may be taken."""
        if table == "bid":
            return self.bid()
        return getattr(self, table)(
            self.random.randint(1, {"person": PEOPLE, "auction": AUCTIONS}[table] + 5)
        )

    def time(self, second):
        return START + timedelta(seconds=second, milliseconds=self.random.choice([0, 0, 250]))

    def person(self, key):
        r = self.random
        state, city = r.choice([("OR", "Portland"), ("ID", "Boise"), ("CA", "Palo Alto"), ("WY", "Cheyenne")])
        second = key * SECONDS // (PEOPLE + 5)
        name = r.choice(["Peter Jones", "Deiter Shultz", "Kate Smith"])
        return key, name, f"{key}@example.org", "1234 5678", city, state, self.time(second), "a"

    def auction(self, key):
        r = self.random
        second = key * SECONDS // (AUCTIONS + 5)
        opened = self.time(second)
        seller = max(1, min(second * (PEOPLE + 5) // SECONDS + r.choice([-2, 0, 0, 1]), PEOPLE))
        initial, category = r.randint(1, 99) * 10, r.choice([10, 10, 11, 12])
        expires = opened + timedelta(seconds=r.randint(20, 120))
        return key, f"item {key}", "as new", initial, initial * 2, opened, expires, seller, category, "b"

    def bid(self):
        r = self.random
        second = r.randrange(SECONDS)
        last = min(second * (AUCTIONS + 5) // SECONDS, AUCTIONS)
        auction = max(1, last - r.choice([0, 0, 1, 5, 9]))
        channel = r.choice(["Google", "Apple", "channel-17", "channel-18"])
        url = f"https://www.nexmark.com/{r.choice('xyz')}/{r.choice('pq')}/item.htm?query=1"
        if channel == "channel-17":
            url += "&channel_id=17"
        extra = r.choice(["", "abc", "cocoa"])
        return auction, r.randint(1, PEOPLE), r.randint(1, 600) * 100, channel, url, self.time(second), extra
