"""Rows like those of TPC-H, few and the same each time.

The values are drawn from small sets around the parameters of the queries, so that no result is empty.
"""

import random
from datetime import date, timedelta
from decimal import Decimal

REGIONS = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"]
NATIONS = [
    ("ALGERIA", 0), ("ARGENTINA", 1), ("BRAZIL", 1), ("CANADA", 1), ("EGYPT", 4), ("ETHIOPIA", 0), ("FRANCE", 3),
    ("GERMANY", 3), ("INDIA", 2), ("INDONESIA", 2), ("IRAN", 4), ("IRAQ", 4), ("JAPAN", 2), ("JORDAN", 4),
    ("KENYA", 0), ("MOROCCO", 0), ("MOZAMBIQUE", 0), ("PERU", 1), ("CHINA", 2), ("ROMANIA", 3),
    ("SAUDI ARABIA", 4), ("VIETNAM", 2), ("RUSSIA", 3), ("UNITED KINGDOM", 3), ("UNITED STATES", 1),
]  # fmt: skip
TRADING = [2, 3, 6, 7, 8, 20]  # the nations of suppliers and customers
TYPES = ["ECONOMY ANODIZED STEEL", "PROMO BURNISHED BRASS", "SMALL PLATED BRASS", "MEDIUM POLISHED TIN"]
BRANDS = [("Brand#12", "SM CASE"), ("Brand#23", "MED BOX"), ("Brand#34", "LG BOX"), ("Brand#45", "JUMBO JAR")]
SUPPLIERS, PARTS, CUSTOMERS, ORDERS = 12, 24, 40, 150
TODAY = date(1995, 6, 17)

# How many columns at the start of a row an UPDATE leaves as they are.
KEYS = {
    "lineitem": 0, "orders": 1, "customer": 1, "supplier": 1, "part": 1, "partsupp": 2, "nation": 1, "region": 1,
}  # fmt: skip


class Generator:
    """Makes rows; `tables` are all of the database, in an order in which they can be inserted."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.next_order = 1

    def tables(self):
        orders, lines = self.orders(ORDERS)
        return {
            "region": [(i, name, "") for i, name in enumerate(REGIONS)],
            "nation": [(i, name, region, "") for i, (name, region) in enumerate(NATIONS)],
            "supplier": [self.supplier(i) for i in range(1, SUPPLIERS + 1)],
            "part": [self.part(i) for i in range(1, PARTS + 1)],
            "partsupp": [
                self.partsupp(part, supplier)
                for part in range(1, PARTS + 1)
                for supplier in range(1, SUPPLIERS + 1)
                if (part + supplier) % 3
            ],
            "customer": [self.customer(i) for i in range(1, CUSTOMERS + 1)],
            "orders": orders,
            "lineitem": lines,
        }

    def row(self, table):
        """A row whose key may be taken."""
        r = self.random
        if table == "region":
            return r.randint(5, 7), r.choice(REGIONS), ""
        if table == "nation":
            return r.randint(25, 29), r.choice(NATIONS)[0], r.randrange(5), ""
        if table in ("supplier", "part", "customer"):
            return getattr(self, table)(r.randint(1, {"supplier": 14, "part": 28, "customer": 44}[table]))
        if table == "partsupp":
            return self.partsupp(r.randint(1, PARTS), r.randint(1, SUPPLIERS))
        if table == "orders":
            return self.order(r.randint(1, ORDERS + 40))
        return self.lineitem(r.randint(1, ORDERS + 20), r.randint(1, 8), self.day())

    def orders(self, number):
        """New orders and their items, as the refresh function of TPC-H adds them."""
        orders = [self.order(self.next_order + i) for i in range(number)]
        self.next_order += number
        lines = [
            self.lineitem(order[0], line, order[4])
            for order in orders
            for line in range(1, 2 + self.random.randrange(7))
        ]
        return orders, lines

    def money(self, low, high):
        return Decimal(self.random.randint(low * 100, high * 100)) / 100

    def day(self):
        return date(1993, 7, 1) + timedelta(self.random.randrange(1100))

    def phone(self, nation):
        return f"{nation + 10}-{self.random.randint(100, 999)}-555-0100"

    def supplier(self, key):
        nation = self.random.choice(TRADING) if key > len(TRADING) else TRADING[key - 1]
        comment = self.random.choice(["quick", "quiet", "sly Customer of many Complaints"])
        name = f"Supplier#{key:09}"
        return key, name, f"{key} Quay", nation, self.phone(nation), self.money(-900, 9000), comment

    def part(self, key):
        r = self.random
        name = f"{r.choice(['forest', 'green', 'plum'])} {r.choice(['green', 'rosy', 'linen'])}"
        brand, container = BRANDS[key % 4]
        size = r.choice([3, 5, 9, 15, 15, 49])
        return (
            key, name, f"Manufacturer#{r.randint(1, 5)}", brand, r.choice(TYPES), size, container,
            Decimal(900 + key), "",
        )  # fmt: skip

    def partsupp(self, part, supplier):
        return part, supplier, self.random.randint(1, 60), self.money(1, 20), ""

    def customer(self, key):
        r = self.random
        nation = r.choice(TRADING)
        segment = r.choice(["BUILDING", "BUILDING", "MACHINERY"])
        name = f"Customer#{key:09}"
        return key, name, f"{key} Lane", nation, self.phone(nation), self.money(-900, 9000), segment, ""

    def order(self, key):
        r = self.random
        day = self.day()
        comment = r.choice(["fine", "special fast requests", "regular requests"])
        # The last customers order nothing at first.
        customer = r.randint(1, CUSTOMERS if key > ORDERS else CUSTOMERS * 3 // 4)
        priority = r.choice(["1-URGENT", "2-HIGH", "3-MEDIUM", "5-LOW"])
        status = "F" if day < TODAY else "O"
        clerk = f"Clerk#{r.randint(1, 9):09}"
        return key, customer, status, self.money(1000, 90000), day, priority, clerk, 0, comment

    def lineitem(self, order, line, ordered):
        r = self.random
        part, quantity = r.randint(1, PARTS), r.randint(1, 50)
        shipped = ordered + timedelta(r.randint(1, 121))
        received = shipped + timedelta(r.randint(1, 30))
        returned = r.choice("RA") if received <= TODAY else "N"
        return (
            order, part, r.randint(1, SUPPLIERS), line, quantity, quantity * Decimal(900 + part),
            Decimal(r.randint(0, 10)) / 100, Decimal(r.randint(0, 8)) / 100, returned,
            "O" if shipped > TODAY else "F", shipped, ordered + timedelta(r.randint(30, 90)), received,
            r.choice(["DELIVER IN PERSON", "NONE"]), r.choice(["AIR", "AIR REG", "MAIL", "SHIP"]), "",
        )  # fmt: skip
