"""Random queries over the tables of select_queries.SCHEMA: valid, and with one right answer.

Types are letters: i whole numbers (all of scale 0), n other numerics, t text, f float8, g inexact sums of
floats (never looked at again), b boolean, r arrays. A column is a pair of its SQL and its type.
"""

import random

TABLES = {
    "a": [("id", "i"), ("x", "i"), ("y", "i"), ("s", "t"), ("arr", "r")],
    "b": [("id", "i"), ("a_id", "i"), ("x", "i"), ("y", "i"), ("t", "t")],
    "c": [("id", "i"), ("x", "i"), ("y", "i"), ("f", "f")],
}
OPERATORS = ["=", "=", "=", "=", "=", "=", "<", ">", "<=", "<>", "<>", "IS NOT DISTINCT FROM"]


class Generator:
    """One query: `Generator(seed).statement()`."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.names = 0
        self.ctes = {}
        self.tables = 0  # in the query so far: their product is what it costs

    def chance(self, p):
        return self.random.random() < p

    def name(self, prefix):
        self.names += 1
        return f"{prefix}{self.names}"

    def pick(self, columns, kinds="i"):
        found = [c for c in columns if c[1] in kinds]
        return self.random.choice(found)[0] if found else None

    # Expressions

    def whole(self, columns):
        """A whole row of a table among some columns."""
        there = {sql for sql, _ in columns}  # of one that is grouped, not all columns are
        names = [sql.removesuffix(".id") for sql in sorted(there) if sql.endswith(".id")]
        names = [name for name in names if {f"{name}.x", f"{name}.y"} <= there]
        return self.random.choice(names) if names else None

    def constant(self, kind="i"):
        return self.random.choice({"t": ["'p'", "'q'", "''"], "f": ["0.1", "0.2"]}.get(kind, list("01123")))

    def number(self, columns, depth=0, outer=()):
        """An expression of type i."""
        r = self.random
        x = self.pick(columns)
        if x is None:
            return self.constant()
        roll = r.random()
        if roll < 0.55:
            return x
        if roll < 0.65:
            return f"coalesce({x}, {self.constant()})"
        if roll < 0.75:
            return f"{x} {r.choice('+-')} {self.pick(columns) if self.chance(0.4) else self.constant()}"
        if roll < 0.8:
            return f"{x} % 2"
        if roll < 0.88 and depth >= 0:
            return f"CASE WHEN {self.predicate(columns, depth - 1, outer)} THEN {x} ELSE {r.choice(['NULL', '0', '-1'])} END"
        if roll < 0.91:
            return f"nullif({x}, {self.constant()})"
        if depth > 0:
            return self.scalar(columns, depth, outer)
        return f"abs({x})"

    def value(self, columns, depth=0, outer=()):
        """An expression of any type that can be compared, and its type."""
        if self.chance(0.25) and (text := self.pick(columns, "t")):
            return self.random.choice([text, text, f"coalesce({text}, 'none')", f"{text} || '!'"]), "t"
        if self.chance(0.06) and (real := self.pick(columns, "f")):
            return real, "f"
        if self.chance(0.06) and depth > 0:
            return f"({self.predicate(columns, depth, outer)})", "b"
        return self.number(columns, depth, outer), "i"

    def scalar(self, columns, depth, outer):
        """A scalar subquery of type i."""
        scope = [*columns, *outer]
        if self.chance(0.7):
            source, inner = self.source(depth - 1, outer=scope, small=True)
            what = self.aggregate(inner, 0, kinds="i")[0]
            where = self.where(inner, depth - 1, scope, correlate=0.8)
            having = f" HAVING {self.random.choice(['count(*) > 1', 'max(' + self.number(inner) + ') > 1'])}"
            return f"(SELECT {what} FROM {source}{where}{having if self.chance(0.08) else ''})"
        source, inner = self.source(depth - 1, outer=scope, small=True)
        where = self.where(inner, depth - 1, scope, correlate=0.8)
        order = ", ".join([self.pick(inner), *self.total(inner)])
        return f"(SELECT {self.number(inner)} FROM {source}{where} ORDER BY {order} LIMIT 1)"

    def predicate(self, columns, depth=0, outer=()):
        r = self.random
        roll = r.random()
        if depth > 0 and roll < 0.4:
            return self.sublink(columns, depth, outer)
        if roll < 0.5 and depth >= 0:
            left, right = (self.predicate(columns, depth - 1, outer) for _ in "12")
            return f"({left} {r.choice(['OR', 'OR', 'AND'])} {right})"
        if 0.5 < roll < 0.55 and depth >= 0:
            return f"NOT ({self.predicate(columns, depth - 1, outer)})"
        if 0.55 < roll < 0.58 and depth >= 0:
            when, then, other = (self.predicate(columns, depth - 1, outer) for _ in "123")
            return f"CASE WHEN {when} THEN {then} ELSE {other} END"
        if roll < 0.62 and (text := self.pick(columns, "t")):
            return f"{text} {r.choice(['=', '<>', '>'])} {self.constant('t')}"
        if roll < 0.65 and (flag := self.pick(columns, "b")):
            return f"{flag} {r.choice(['IS TRUE', 'IS NOT TRUE', 'IS UNKNOWN'])}"
        if roll < 0.67 and (whole := self.whole(columns)):
            return f"{whole} {r.choice(['IS NULL', 'IS NOT NULL'])}"
        x = self.number(columns, depth - 1, outer)
        if roll < 0.72:
            return f"{x} {r.choice(['IS NULL', 'IS NOT NULL'])}"
        if roll < 0.76:
            return f"{x} {r.choice(['IN', 'NOT IN'])} (1, {r.choice(['2', '2', 'NULL'])})"
        right = self.number([*columns, *outer]) if self.chance(0.4) else self.constant()
        return f"{x} {r.choice([*OPERATORS, 'IS DISTINCT FROM'])} {right}"

    def sublink(self, columns, depth, outer):
        """EXISTS, IN, ANY or ALL of a subquery."""
        r = self.random
        scope = [*columns, *outer]
        roll = r.random()
        if roll < 0.4:
            body = self.select(depth - 1, scope, ["i"], correlate=0.95)[0]
            return f"{r.choice(['', 'NOT '])}EXISTS ({body})"
        if roll < 0.47 and len([c for c in columns if c[1] == "i"]) > 1:
            body = self.query(depth - 1, scope, ["i", "i"], correlate=0.4)[0]
            return f"({self.number(columns)}, {self.number(columns)}) {r.choice(['IN', 'NOT IN'])} ({body})"
        if roll < 0.51 and len([c for c in columns if c[1] == "i"]) > 1:
            source, inner = self.source(depth - 1, outer=scope, small=True)
            pair = f"max({self.number(inner)}), min({self.number(inner)})"
            where = self.where(inner, depth - 1, scope, correlate=0.8)
            row = f"({self.number(columns)}, {self.number(columns)})"
            return f"{row} {r.choice(['=', '<>', '<', '>='])} (SELECT {pair} FROM {source}{where})"
        if roll < 0.57:
            return f"{self.scalar(columns, depth, outer)} {r.choice(['=', '<', '>', '<>'])} {self.number(columns)}"
        body = self.query(depth - 1, scope, ["i"], correlate=0.4)[0]
        how = r.choice(["IN", "NOT IN", "IN", "NOT IN", "= ANY", "> ANY", "<> ALL", "<= ALL", "<> ANY"])
        return f"{self.number(columns)} {how} ({body})"

    def aggregate(self, columns, depth, kinds="intbrg", outer=(), top=False):
        r = self.random
        x = self.number(columns, depth, outer)
        choices = [
            ("count(*)", "i"), (f"count({x})", "i"), (f"sum({x})", "i"), (f"sum({x})", "i"), (f"min({x})", "i"),
            (f"max({x})", "i"), (f"count(DISTINCT {x})", "i"), (f"sum(DISTINCT {x})", "i"),
            (f"percentile_disc(0.5) WITHIN GROUP (ORDER BY {x})", "i"),
            (f"round(avg({x}), 2)", "n"), (f"bool_and({self.predicate(columns, depth, outer)})", "b"),
            (f"bool_or({x} > 1)", "b"), (f"array_agg({x} ORDER BY {self.number(columns)} DESC, {x})", "r"),
            (f"array_agg(DISTINCT {x})", "r"),
        ]  # fmt: skip
        if text := self.pick(columns, "t"):
            choices += [
                (f"string_agg({text}, ',' ORDER BY {x}, {text})", "t"), (f"max({text})", "t"),
                (f"string_agg(DISTINCT {text}, '')", "t"), (f"count(DISTINCT {text})", "i"),
            ]  # fmt: skip
        if whole := self.whole(columns):
            choices += [(f"count({whole})", "i"), (f"count(DISTINCT {whole})", "i")]
        if top and (real := self.pick(columns, "f")):
            choices += [(f"sum({real})", "g"), (f"avg({real})", "g")] * 2
        call, kind = r.choice([c for c in choices if c[1] in kinds])
        if self.chance(0.2) and not call.startswith("round"):
            call += f" FILTER (WHERE {self.predicate(columns, depth, outer)})"
        if kind == "i" and self.chance(0.1):
            call = r.choice(["coalesce({}, 0)", "{} + 1", "- {}"]).format(call)
        return call, kind

    def total(self, columns):
        """A total order of rows with these columns."""
        return [c for c, kind in columns if kind != "g"]

    def windows(self, columns):
        r = self.random
        x = self.number(columns)
        order = self.total(columns)
        first = self.pick(columns)
        if first is not None:
            order = [first + r.choice(["", " DESC", " NULLS FIRST"]), *order]
        part = f"PARTITION BY {self.number(columns)} " if self.chance(0.75) else ""
        over = f"OVER ({part}ORDER BY {', '.join(order)}"
        return r.choice([
            f"row_number() {over})", f"rank() OVER ({part}ORDER BY {x})", f"dense_rank() OVER ({part}ORDER BY {x} DESC)",
            f"sum({x}) OVER ({part.strip()})", f"count(*) OVER ({part.strip()})", f"sum({x}) OVER ({part}ORDER BY {x})",
            f"lag({x}) {over})", f"lead({x}, 2, 0) {over})", f"first_value({x}) {over})",
            f"sum({x}) {over} ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)", f"max({x}) {over} ROWS 2 PRECEDING)", f"ntile(2) {over})",
            f"max({x}) OVER ({part.strip()})", f"count(*) FILTER (WHERE {self.predicate(columns)}) OVER ({part.strip()})",
        ])  # fmt: skip

    # FROM and WHERE

    def item(self, depth, outer, lateral):
        """One item of FROM: its SQL and columns. `lateral`: the columns to its left that it may use."""
        r = self.random
        roll = r.random()
        self.tables += 1
        alias = self.name("t")
        if self.ctes and roll < 0.5:
            cte = r.choice(list(self.ctes))
            return f"{cte} {alias}", [(f"{alias}.{c}", k) for c, k in self.ctes[cte]]
        if depth > 0 and roll < 0.3:
            inside = outer if self.chance(0.15) else ()
            body, out = self.query(depth - 1, inside, correlate=0.5)
            return f"({body}) {alias}", [(f"{alias}.{c}", k) for c, k in out]
        if lateral and depth > 0 and roll < 0.42:
            body, out = self.select(depth - 1, [*lateral, *outer], correlate=0.95)
            return f"LATERAL ({body}) {alias}", [(f"{alias}.{c}", k) for c, k in out]
        if lateral and roll < 0.46 and (array := self.pick(lateral, "r")):
            return f"unnest({array}) {alias}(e)", [(f"{alias}.e", "i")]
        if lateral and roll < 0.48:
            return f"generate_series(1, {self.pick(lateral) or 2}) {alias}(e)", [(f"{alias}.e", "i")]
        if roll < 0.5 and depth > 0:
            rows = r.choice(["(1, 'p'), (2, 'q'), (2, NULL)", "(1, 'p'), (NULL, 'q')", "(0, '')"])
            return f"(VALUES {rows}) {alias}(k, w)", [(f"{alias}.k", "i"), (f"{alias}.w", "t")]
        table = r.choice("aaabbbc")
        return f"{table} {alias}", [(f"{alias}.{c}", k) for c, k in TABLES[table]]

    def tree(self, size, depth, outer, lateral=()):
        """A tree of joins of `size` items."""
        r = self.random
        if size == 1:
            return self.item(depth, outer, lateral)
        kind = r.choice(["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        on_right = r.choice([1, 1, size - 1])
        left, there = self.tree(
            size - on_right, depth, outer, lateral if kind in ("JOIN", "LEFT JOIN") else ()
        )
        sees = [*lateral, *there] if kind in ("JOIN", "LEFT JOIN") else ()
        right, here = self.tree(on_right, depth, outer, sees)
        if on_right > 1:
            right = f"({right})"
        on = self.joined(there, here, kind, depth, outer)
        return f"{left} {kind} {right} ON {on}", [*there, *here]

    def joined(self, left, right, kind, depth, outer):
        x, y = self.pick(left), self.pick(right)
        if x is None or y is None:
            return "true" if kind != "FULL JOIN" else "1 = 1"
        if kind == "FULL JOIN":
            more = f" AND {self.pick(left)} = {self.pick(right)}" if self.chance(0.15) else ""
            return f"{x} = {y}{more}"
        on = f"{x} {self.random.choice(OPERATORS)} {y}"
        if self.chance(0.06):
            return "true"
        if self.chance(0.25):
            on += f" AND {self.predicate([*left, *right], depth - 1 if self.chance(0.3) else 0, outer)}"
        return on

    def source(self, depth, outer=(), small=False):
        """What follows FROM."""
        r = self.random
        size = r.choice([1, 1, 1, 2] if small else [1, 1, 1, 2, 2, 2, 3, 3, 4])
        if self.tables > 6:
            size = 1
        while True:
            if size > 1 and self.chance(0.1):
                left, there = self.item(depth, outer, ())
                right, here = self.item(depth, outer, there)
                found, columns = f"{left}, {right}", [*there, *here]
            else:
                found, columns = self.tree(size, depth, outer)
            if self.pick(columns):
                return found, columns

    def where(self, columns, depth, outer, correlate=0.0):
        terms = []
        if outer and self.chance(correlate):
            near = outer[:5] if self.chance(0.7) else outer
            if x := self.pick(near):
                terms.append(f"{self.pick(columns)} {self.random.choice(OPERATORS)} {x}")
                if self.chance(0.15):
                    terms.append(f"{self.pick(columns)} {self.random.choice(OPERATORS)} {self.pick(outer)}")
        if self.chance(0.5 if not terms else 0.25):
            terms.append(self.predicate(columns, depth, outer))
        return f" WHERE {' AND '.join(terms)}" if terms else ""

    # Whole queries

    def select(self, depth, outer=(), types=None, correlate=0.0, top=False):
        """One SELECT: its SQL, and the names and types of its columns."""
        r = self.random
        source, columns = self.source(depth, outer)
        body = f" FROM {source}{self.where(columns, depth, outer, correlate)}"
        tail, head, sets = "", "", False
        visible = columns
        roll = r.random()
        if roll < 0.4:
            body, visible, aggregates, sets = self.grouped(body, columns, depth, outer, top)
            outputs = [c for c in visible if c in aggregates or self.chance(0.8)] or visible[:1]
            if self.chance(0.08) and types is None:
                outputs = [
                    *outputs,
                    (
                        f"generate_series(1, {r.choice(['2', 'count(*)', 'max(' + self.number(columns) + ')'])})",
                        "i",
                    ),
                ]
            elif self.chance(0.1) and not sets and self.pick(outputs):
                outputs = [*outputs, (self.windows([c for c in outputs if c[1] in "int"]), "i")]
        elif roll < 0.5:
            outputs = [(self.windows(columns), "i") for _ in range(r.choice([1, 1, 2]))]
            outputs += [self.value(columns, depth, outer) for _ in range(r.randint(1, 2))]
            if self.chance(0.1) and types is None:
                outputs.append((f"unnest({self.pick(columns, 'r') or 'ARRAY[1, NULL]'})", "i"))
        else:
            outputs = [self.value(columns, depth, outer) for _ in range(r.randint(1, 3))]
            if roll < 0.6:
                head = "DISTINCT "
            elif roll < 0.65:
                key = self.pick(columns)
                head = f"DISTINCT ON ({key}) "
                tail = f" ORDER BY {', '.join([key + r.choice(['', ' DESC']), *self.total(columns)])}"
            elif roll < 0.67 and (whole := self.whole(columns)):
                outputs.append((f"row_to_json({whole})::text", "t"))
            elif roll < 0.69:
                outputs.append((f"unnest({self.pick(columns, 'r') or 'ARRAY[1, 2]'})", "i"))
        if types is not None:
            outputs = self.fit(outputs, visible, types, head or roll < 0.4)
        named = [(sql, self.name("o"), kind) for sql, kind in outputs]
        out = [(alias, kind) for _, alias, kind in named]
        if not tail and self.chance(0.12) and not any(kind in "gb" for _, kind in out):
            order = [
                f"{alias}{r.choice(['', ' DESC', ' NULLS FIRST'])}" for alias, _ in r.sample(out, len(out))
            ]
            tail = f" ORDER BY {', '.join(order)}"
            if self.chance(0.8):
                tail += f" LIMIT {r.randint(1, 4)}" + r.choice(["", "", " OFFSET 1"])
        elif tail and self.chance(0.2):
            tail += f" LIMIT {r.randint(1, 3)}"
        return f"SELECT {head}{', '.join(f'{s} AS {n}' for s, n, _ in named)}{body}{tail}", out

    def fit(self, outputs, visible, types, strict):
        """Outputs of just these types."""
        left = list(outputs)
        fitted = []
        for kind in types:
            same = next((o for o in left if o[1] == kind), None)
            if same:
                left.remove(same)
            else:
                found = self.pick(visible, kind)
                if found is None:
                    found = "NULL::text" if kind == "t" else "1"
                same = (found, kind)
            fitted.append(same)
        return fitted

    def grouped(self, body, columns, depth, outer, top):
        r = self.random
        keys = []
        for _ in range(r.choice([0, 1, 1, 1, 2, 2])):
            if self.chance(0.7):
                kind = r.choice("iiit")
                key = (self.pick(columns, kind) or self.pick(columns), kind)
                key = next(c for c in columns if c[0] == key[0])
            else:
                key = self.value(columns, depth if self.chance(0.3) else 0, outer)
            if key not in keys and not key[0].isdigit():
                keys.append(key)
        calls = [self.aggregate(columns, depth if self.chance(0.3) else 0, outer=outer, top=top)
                 for _ in range(r.choice([0, 1, 1, 2, 3] if keys else [1, 2, 3]))]  # fmt: skip
        visible = [*keys, *dict.fromkeys(calls)]
        sets = False
        if keys:
            listed = ", ".join(k for k, _ in keys)
            how = listed
            if self.chance(0.2):
                sets = True
                first = keys[0][0]
                how = r.choice([
                    f"ROLLUP ({listed})", f"CUBE ({listed})", f"GROUPING SETS (({listed}), ())",
                    f"GROUPING SETS (({first}), ({listed}), ())",
                ])  # fmt: skip
                visible.append((f"grouping({first})", "i"))
            body += f" GROUP BY {how}"
        if self.chance(0.25):
            safe = [c for c in visible if c[1] in "itb"]
            if self.pick(safe):
                body += f" HAVING {self.predicate(safe, 0)}"
            if self.pick(keys) and depth > 0 and self.chance(0.4) and "HAVING" in body:
                body += f" AND {self.sublink([k for k in keys if '(' not in k[0]] or keys, depth, outer)}"
        return body, visible, calls, sets

    def query(self, depth, outer=(), types=None, correlate=0.0, top=False):
        """A SELECT or a set operation."""
        r = self.random
        if not self.chance(0.18):
            return self.select(depth, outer, types, correlate, top)
        types = types or r.choice([["i"], ["i"], ["i", "i"], ["i", "t"]])
        parts = []
        for _ in range(r.choice([2, 2, 2, 3])):
            body, out = self.select(depth - 1, outer, types, correlate)
            parts.append(f"({body})")
        kinds = ["UNION", "UNION ALL", "UNION ALL", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"]
        sql = parts[0]
        first = None
        for part in parts[1:]:
            sql = (
                f"{sql} {r.choice(kinds)} {part}" if self.chance(0.7) else f"{part} {r.choice(kinds)} ({sql})"
            )
        # The names are those of the first SELECT: name them anew.
        first = [self.name("o") for _ in types]
        tail = ""
        if self.chance(0.15):
            tail = f" ORDER BY {', '.join(first)} LIMIT {r.randint(1, 4)}"
        del out
        sub = self.name("u")
        if self.chance(0.5) or tail:
            return f"SELECT * FROM ({sql}) {sub}({', '.join(first)}){tail}", list(
                zip(first, types, strict=True)
            )
        return f"SELECT {', '.join(f'{sub}.{c}' for c in first)} FROM ({sql}) {sub}({', '.join(first)})", list(zip(first, types, strict=True))  # fmt: skip

    def statement(self):
        depth = self.random.choice([0, 1, 1, 1, 2, 2, 2, 3])
        ctes = []
        if self.chance(0.06):
            name = self.name("w")
            ctes.append(f"{name}(k, v, d) AS ({self.recursion(name)})")
            self.ctes[name] = [("k", "i"), ("v", "i"), ("d", "i")]
        elif self.chance(0.12):
            for _ in range(self.random.choice([1, 1, 2])):
                name = self.name("w")
                body, out = self.query(min(depth, 1))
                ctes.append(f"{name} AS ({body})")
                self.ctes[name] = out
        if self.chance(0.08):
            types = self.random.choice([["i"], ["i", "i"], ["i", "t"]])
            left, right = (self.select(depth - 1, (), types)[0] for _ in "12")
            kind = self.random.choice(
                ["UNION", "UNION ALL", "EXCEPT", "EXCEPT ALL", "INTERSECT", "INTERSECT ALL"]
            )
            body = f"({left}) {kind} ({right})"
        else:
            body = self.query(depth, top=True)[0]
        recursive = "RECURSIVE " if any("(k, v, d)" in c for c in ctes) else ""
        return (f"WITH {recursive}{', '.join(ctes)} " if ctes else "") + body

    def recursion(self, name):
        """The query of a recursive CTE with columns k, v and d; its values are those of a column, so it ends."""
        r = self.random
        counts = self.chance(0.3)
        source, columns = self.source(0, small=True)
        depth = "0" if counts else r.choice(["0", f"{self.pick(columns)}::integer"])
        seed = f"SELECT {self.pick(columns)}::integer, {self.pick(columns)}::integer, {depth} FROM {source}"
        seed += self.where(columns, 0, ())
        source, columns = self.tree(r.choice([1, 1, 2]), 0, ())
        source = f"({source})" if " JOIN " in source else source
        on = f"{self.pick(columns)} = r.{r.choice('kv')}"
        where = (
            f" WHERE {self.predicate([*columns, ('r.k', 'i'), ('r.v', 'i')], 1 if self.chance(0.3) else 0)}"
        )
        where = where if self.chance(0.5) else ""
        if counts:
            where = f"{where or ' WHERE true'} AND r.d < 2"
        first, second, third = (f"{self.pick(columns)}::integer" for _ in "123")
        first, second = r.choice(["r.k", first]), r.choice(["r.k", "r.v", second, second])
        third = "r.d + 1" if counts else r.choice(["r.d", third])
        union = "UNION ALL" if counts else "UNION"
        return f"{seed} {union} SELECT {first}, {second}, {third} FROM {name} r JOIN {source} ON {on}{where}"
