"""Random queries in Python, of all operators: `Generator(seed).module()` is a module's text."""

import random

DATA = {
    "Item": {"id": "int", "kind": "str | None", "price": "float"},
    "Sale": {"item": "int", "count": "int", "note": "str"},
    "Event": {"item": "int | None", "day": "date", "at": "datetime", "amount": "Decimal", "state": "Kind", "open": "bool", "took": "timedelta"},
    "Named": {"name": "str", "amount": "int"},
    "Basket": {"name": "str | None", "total": "float", "parts": "tuple[int, ...]"},
}  # fmt: skip
HEADING = """\
from datetime import date, datetime, timedelta
from decimal import Decimal

from graph_rows import Basket, Event, Item, Kind, Named, Sale, digits, shouted

import pg_stepping as st


def none() -> st.ZSetPython[int]:
    return st.ZSetPython[int]()


"""


def told(kind):
    """A type as an annotation."""
    if isinstance(kind, str):
        return "st.ZSetPython[int]" if kind == "zset" else kind
    shape, *inner = kind
    if shape == "keys":
        return f"tuple[{', '.join(inner)}]"
    return (
        f"{told(inner[0])} | st.Empty" if shape == "maybe" else f"st.Pair[{told(inner[0])}, {told(inner[1])}]"
    )


def fields(kind, name):
    """The scalars in a row, as (type, expression)."""
    if isinstance(kind, str):
        if kind not in DATA:
            return [(kind, name)]
        return [(t, f"{name}.{field}") for field, t in DATA[kind].items()]
    if kind[0] == "maybe":
        return []
    if kind[0] == "keys":
        return [(t, f"{name}[{place}]") for place, t in enumerate(kind[1:])]
    return fields(kind[1], f"{name}.left") + fields(kind[2], f"{name}.right")


def plain(kind):
    """Whether a row has no part that may be missing and no collection: then it can be a key or a row again."""
    return all(
        part not in ("zset", "tuple[int, ...]") for part, _ in fields(kind, "")
    ) and "maybe" not in repr(kind)


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.count = 0
        self.outer = []

    def of(self, *ways):
        return self.random.choice(ways)

    def name(self, letter="z"):
        self.count += 1
        return f"{letter}{self.count}"

    # --- rows -------------------------------------------------------------------------------------

    def pick(self, kind, *wanted, name="p"):
        """An expression of one of these types over a row, and its type."""
        found = [(t, e) for t, e in fields(kind, name) if t in wanted]
        return self.random.choice(found) if found else None

    def made(self, kind, wanted):
        """An expression of the type `wanted` over `p`, a row of `kind`."""
        found = self.pick(kind, wanted)
        if wanted == "int":
            other = self.pick(kind, "str", "bool", "date", "float", "Decimal", "timedelta")
            ways = [str(self.of(0, 1, 2))]
            if found:
                ways += [found[1]] * 4 + [
                    f"{found[1]} % 3",
                    f"{found[1]} * 2 - 1",
                    f"-{found[1]}",
                    f"(0 if {found[1]} > 2 else {found[1]})",
                ]
            if other:
                kind_, e = other
                ways += {
                    "str": [f"len({e})"],
                    "bool": [f"int({e})"],
                    "date": [f"{e}.day"],
                    "float": [f"(1 if {e} > 0.15 else 2)"],
                    "Decimal": [f"int({e})"],
                    "timedelta": [f"{e}.days"],
                }[kind_] * 2
            optional = self.pick(kind, "int | None")
            if optional:
                ways.append(f"({optional[1]} or 0)")
            return self.random.choice(ways)
        if wanted == "str":
            number, optional = self.pick(kind, "int"), self.pick(kind, "str | None")
            ways = ["'k'"]
            if found:
                ways += [found[1]] * 4 + [f"{found[1]} + 'x'", f"shouted({found[1]})", f"{found[1]}.upper()"]
            if number:
                ways += [f"str({number[1]})", f"f'n{{{number[1]}:03d}}'"]
            if optional:
                ways += [
                    f"({optional[1]} or '')",
                    f"({optional[1]} if {optional[1]} is not None else 'none')",
                ]
            day = self.pick(kind, "date")
            if day:
                ways.append(f"{day[1]}.isoformat()")
            return self.random.choice(ways)
        if wanted == "float":
            number = self.pick(kind, "int")
            ways = (
                ["0.1"]
                + ([found[1]] * 4 + [f"-{found[1]}"] if found else [])
                + ([f"{number[1]} / 10"] * 2 if number else [])
            )
            return self.random.choice(ways)
        if wanted == "Decimal":
            number = self.pick(kind, "int")
            ways = (
                ["Decimal('1.10')"]
                + ([found[1]] * 3 + [f"{found[1]} * 2"] if found else [])
                + ([f"Decimal({number[1]})"] if number else [])
            )
            return self.random.choice(ways)
        if wanted == "str | None":
            text = self.pick(kind, "str")
            ways = ["None"] + ([found[1]] * 4 if found else []) + ([text[1]] if text else [])
            if text:
                ways.append(f"({text[1]} if {text[1]} != 'a' else None)")
            return self.random.choice(ways)
        if wanted == "tuple[int, ...]":
            number = self.pick(kind, "int")
            return (
                self.of(f"digits({number[1]})", f"({number[1]}, {self.made(kind, 'int')})")
                if number
                else "(1, 2)"
            )
        return found[1] if found else None

    def row(self, kind):
        """(type, expression) of a new row."""
        shape = self.random.randrange(8)
        if shape == 0:
            return "Named", f"Named(name={self.made(kind, 'str')}, amount={self.made(kind, 'int')})"
        if shape == 1:
            return (
                "Basket",
                f"Basket(name={self.made(kind, 'str | None')}, total={self.made(kind, 'float')}, parts={self.made(kind, 'tuple[int, ...]')})",
            )
        if shape == 2:
            return (
                "Sale",
                f"Sale(item={self.made(kind, 'int')}, count={self.made(kind, 'int')}, note={self.made(kind, 'str')})",
            )
        if shape == 3:
            return ("pair", "int", "int"), f"st.Pair({self.made(kind, 'int')}, {self.made(kind, 'int')})"
        if shape == 4:
            return (
                "Item",
                f"Item(id={self.made(kind, 'int')}, kind={self.made(kind, 'str | None')}, price={self.made(kind, 'float')})",
            )
        if (
            shape == 5
            and not isinstance(kind, str)
            and kind[0] == "pair"
            and (kind[1] if isinstance(kind[1], str) else kind[1][0]) != "maybe"
        ):
            return kind[1], "p.left"
        if shape == 6 and not isinstance(kind, str) and kind[0] == "pair" and plain(kind):
            return ("pair", kind[2], kind[1]), "st.Pair(p.right, p.left)"
        scalar = self.of("int", "str", "float", "Decimal")
        return scalar, self.made(kind, scalar)

    def test(self, kind):
        ways = []
        for t, e in fields(kind, "p"):
            if t in ("int", "float"):
                ways += [f"{e} > 1", f"{e} != 2", f"{e} <= 0.2" if t == "float" else f"{e} % 2 == 1"]
            elif t == "str":
                ways += [
                    f"{e} != 'a'",
                    f"{e} >= 'b'",
                    f"len({e}) < 3",
                    f"shouted({e}) != 'A!'",
                    f"{e} in ('a', 'ä')",
                ]
            elif t == "str | None":
                ways += [f"{e} is not None", f"{e} != 'x'", f"not {e}"]
            elif t == "int | None":
                ways += [f"{e} is None or {e} > 1", f"{e} == 1"]
            elif t == "bool":
                ways.append(e)
            elif t == "date":
                ways += [f"{e} > date(2024, 2, 28)", f"{e}.weekday() < 3"]
            elif t == "datetime":
                ways.append(f"{e}.hour < 12")
            elif t == "Decimal":
                ways += [f"{e} > 0", f"{e} == 1"]
            elif t == "Kind":
                ways += [f"{e} is Kind.NEW", f"{e} != Kind.OLD"]
            elif t == "timedelta":
                ways.append(f"{e} >= timedelta(0)")
        if (
            not isinstance(kind, str)
            and kind[0] == "pair"
            and not isinstance(kind[2], str)
            and kind[2][0] == "maybe"
        ):
            ways += [f"{'not ' * self.of(0, 1)}isinstance(p.right, st.Empty)"] * 3
        return self.random.choice(ways) if ways else "True"

    def key(self, kind, ordered=False):
        """(types, expression) of a key of one to three parts."""
        no = {"zset", "tuple[int, ...]"}
        found = [(t, e) for t, e in fields(kind, "p") if t not in no]
        if not found:
            return None
        number = self.pick(kind, "int")
        if number:
            found.append(("int", f"{number[1]} % 2"))
        picked = self.random.sample(found, min(len(found), self.of(1, 1, 1, 2, 2, 3)))
        types = tuple(t for t, _ in picked)
        text = picked[0][1] if len(picked) == 1 else f"({', '.join(e for _, e in picked)})"
        return types, text

    def index(self, kind):
        key = self.key(kind)
        if key is None:
            return None
        types, text = key
        order = self.of("", "", ", ascending=False", ", ascending=True")
        if len(types) > 1 and self.random.random() < 0.5:
            order = f", ascending=({', '.join(str(self.of(True, False)) for _ in types)})"
        return types, f"st.Index.pick({told(kind)}, lambda p: {text}{order})"

    # --- operators --------------------------------------------------------------------------------

    def step(self, pool, indent, depth):
        """Lines that make one more ZSet, which joins the pool."""
        source, kind = self.random.choice(pool[-4:] if self.random.random() < 0.6 else pool)
        name = self.name()
        way = self.of("map", "map", "filter", "join", "join", "outer", "distinct", "add", "neg", "count", "first", "first", "closure", "reduce",
                      "sums", "sums", "groups", "groups", "many", "time", "call")  # fmt: skip
        made = getattr(self, f"_{way}")(source, kind, pool, indent, depth)
        if made is None:
            return []
        kind, text, *before = made
        pool.append((name, kind))
        return [*before, f"{indent}{name} = {text}"]

    def _map(self, source, kind, pool, indent, depth):
        new, text = self.row(kind)
        return (
            new,
            f"st.map({source}, f=lambda p: {text})"
            if "shouted" not in text
            and "digits" not in text
            and ".upper" not in text
            and new not in ("float",)
            else self.defined(source, kind, new, text, indent),
        )

    def defined(self, source, kind, new, text, indent):
        return f"st.map({source}, f={self.function(kind, told(new), text)})"

    def function(self, kind, returns, text):
        name = self.name("f")
        self.outer.append(f"def {name}(p: {told(kind)}) -> {returns}:\n    return {text}\n")
        return name

    def _filter(self, source, kind, pool, indent, depth):
        return kind, f"st.filter({source}, f=lambda p: {self.test(kind)})"

    def _join(self, source, kind, pool, indent, depth, operator="join"):
        other, other_kind = self.random.choice(pool)
        lefts, rights = fields(kind, "p"), fields(other_kind, "p")
        no = {"zset", "tuple[int, ...]"}
        both = [(a, b) for t, a in lefts for u, b in rights if t == u and t not in no]
        if not both or len(lefts) + len(rights) > 14:
            return None
        picked = self.random.sample(both, min(len(both), self.of(1, 1, 2)))
        if len(picked) == 1:
            left, right = picked[0]
        else:
            left, right = (f"({', '.join(x)})" for x in zip(*picked, strict=True))
        on = ", ".join(
            f"on_{side}=st.Index.pick({told(k)}, lambda p: {e})"
            for side, k, e in (("left", kind, left), ("right", other_kind, right))
        )
        right_kind = ("maybe", other_kind) if operator == "outer_join" else other_kind
        return ("pair", kind, right_kind), f"st.{operator}({source}, {other}, {on})"

    def _outer(self, source, kind, pool, indent, depth):
        return self._join(source, kind, pool, indent, depth, "outer_join")

    def _distinct(self, source, kind, pool, indent, depth):
        return kind, f"st.distinct({source})"

    def _neg(self, source, kind, pool, indent, depth):
        others = [n for n, k in pool if k == kind]
        return kind, self.of(
            f"st.add({self.random.choice(others)}, st.neg({source}))", f"st.neg({source})", f"-{source}"
        )

    def _add(self, source, kind, pool, indent, depth):
        others = [n for n, k in pool if k == kind]
        a, b = self.random.choice(others), self.random.choice(others)
        return kind, self.of(f"st.add({source}, {a})", f"st.add3({source}, {a}, {b})", f"{source} + {a}")

    def _count(self, source, kind, pool, indent, depth):
        return "int", f"st.count({source})"

    def _first(self, source, kind, pool, indent, depth):
        index = self.index(kind)
        return (
            None
            if index is None
            else (kind, f"st.first_n({source}, index={index[1]}, n={self.of(1, 2, 3, 5)})")
        )

    def _closure(self, source, kind, pool, indent, depth):
        if kind == ("pair", "int", "int"):
            return kind, f"st.transitive_closure({source})"
        pair = ("pair", "int", "int")
        a, b = self.made(kind, "int"), self.made(kind, "int")
        return pair, f"st.transitive_closure(st.map({source}, f=lambda p: st.Pair({a}, {b})))"

    def picked(self, kind):
        """(type of the sum, zero, pick_value)."""
        shape = self.of("int", "int", "float", "float", "Decimal", "zset", "timedelta")
        if shape == "timedelta":
            found = self.pick(kind, shape)
            return shape, shape, f"lambda p: {found[1] if found else 'timedelta(hours=30)'}"
        if shape == "zset":
            return (
                "zset",
                "none",
                self.function(
                    kind, "st.ZSetPython[int]", f"st.ZSetPython[int]({{{self.made(kind, 'int')}: 1}})"
                ),
            )
        return shape, shape, f"lambda p: {self.made(kind, shape)}"

    def _reduce(self, source, kind, pool, indent, depth):
        sum_, zero, pick = self.picked(kind)
        return sum_, f"st.reduce({source}, zero={zero}, pick_value={pick})"

    def _sums(self, source, kind, pool, indent, depth):
        key = self.index(kind)
        if key is None:
            return None
        types, index = key
        sum_, zero, pick = self.picked(kind)
        of = types[0] if len(types) == 1 else ("keys", *types)
        return (
            "pair",
            sum_,
            of,
        ), f"st.group_reduce_flatten({source}, by={index}, zero={zero}, pick_value={pick})"

    def _groups(self, source, kind, pool, indent, depth):
        key = self.index(kind)
        if key is None or depth > 1:
            return None
        types, index = key
        inner, group = self.name("inner"), self.name("g")
        own = [(group, kind)]
        lines = [f"{indent}def {inner}({group}: st.ZSet[{told(kind)}]):"]
        within = [*(p for p in pool[:2] if self.random.random() < 0.3), *own]
        for _ in range(self.of(1, 2, 3)):
            lines += self.step_inner(within, own, indent + "    ", depth + 1)
        result, new = own[-1]
        lines.append(f"{indent}    return {result}")
        of = types[0] if len(types) == 1 else ("keys", *types)
        return ("pair", new, of), f"st.flatten(st.per_group[st.group({source}, by={index})]({inner}))", *lines

    def step_inner(self, within, own, indent, depth):
        """A step whose first argument is of the group."""
        pool = [*(p for p in within if p not in own), *own]
        source, kind = self.random.choice(own)
        name = self.name()
        way = self.of(
            "map",
            "filter",
            "join",
            "outer",
            "distinct",
            "add",
            "neg",
            "count",
            "first",
            "first",
            "closure",
            "reduce",
            "sums",
            "groups",
            "many",
        )
        mine = own if way in ("add", "neg") else pool
        made = getattr(self, f"_{way}")(source, kind, mine, indent, depth)
        if made is None:
            return []
        kind, text, *before = made
        own.append((name, kind))
        return [*before, f"{indent}{name} = {text}"]

    def _many(self, source, kind, pool, indent, depth):
        new, text = self.row(kind)
        other = self.made(kind, new) if new in ("int", "str") else None
        if new in ("int", "str"):
            container = self.of("frozenset", "list")
            f = self.function(
                kind,
                f"{container}[{told(new)}]",
                self.of(
                    f"{container}([{text}, {other}])",
                    f"[{text}, {other}]" if container == "list" else f"frozenset({{{text}, {other}}})",
                ),
            )
            return new, f"st.map_many({source}, f={f})"
        container = self.of("frozenset", "list")
        times = self.made(kind, "int")
        if not plain(new):
            return None
        f = self.function(
            kind, f"{container}[{told(new)}]", f"{container}([{text}] * max(0, min(3, {times})))"
        )
        return new, f"st.map_many({source}, f={f})"

    def _time(self, source, kind, pool, indent, depth):
        if depth:
            return None
        return kind, self.of(f"st.differentiate(st.integrate({source}))", f"st.identity_print({source})")

    def _call(self, source, kind, pool, indent, depth):
        name = self.name("helper")
        own = [("a", kind)]
        lines = []
        for _ in range(2):
            lines += self.step_inner(own, own, "    ", depth + 1) if depth < 1 else []
        if not lines:
            return None
        result, new = own[-1]
        self.outer.append(
            "\n".join([f"def {name}(a: st.ZSet[{told(kind)}]):", *lines, f"    return {result}", ""])
        )
        return new, f"{name}({source})"

    # --- the whole --------------------------------------------------------------------------------

    def module(self):
        inputs = self.random.sample(["Item", "Sale", "Event"], self.of(1, 2, 2, 3))
        pool = [(f"{kind.lower()}s", kind) for kind in inputs]
        given = list(pool)
        lines = []
        for _ in range(self.of(2, 3, 4, 5, 7)):
            lines += self.step(pool, "    ", 0)
        made = pool[len(given) :] or pool
        outputs = self.random.sample(made, min(len(made), self.of(1, 1, 2, 3)))
        if made[-1] not in outputs:
            outputs.append(made[-1])
        kept = self.random.sample(made, min(len(made), self.of(0, 1, 2)))
        for number, (name, kind) in enumerate(kept):
            index = self.index(kind)
            text = (
                f"st.integrate_indexed(a, indexes=({index[1]},))"
                if index and self.of(0, 1)
                else "st.integrate(a)"
            )
            lines.append(f"    _ = st.Cache[{told(kind)}](name='kept_{number}')[{name}](lambda a: {text})")
        results = [self.of(n, n, n, f"st.integrate({n})", f"st.delay(st.integrate({n}))") for n, _ in outputs]
        parameters = ", ".join(f"{n}: st.ZSet[{k}]" for n, k in given)
        body = "\n".join([f"def query({parameters}):", *lines, f"    return {', '.join(results)}"])
        return HEADING + "\n\n".join([*self.outer, body]) + "\n"
