"""Random trees of joins in every syntax that FROM has: USING, NATURAL, parentheses, LATERAL, functions, aliases.

Every item shows columns m and n, so that USING finds what it names; what Postgres does not take is `invalid`.
"""

import random


class Joins:
    """One query: `Joins(seed).statement()`."""

    def __init__(self, seed):
        self.random = random.Random(f"joins {seed}")
        self.names = 0

    def item(self, left):
        """An item of FROM and its alias; it may read those of `left`."""
        r = self.random
        self.names += 1
        name = f"t{self.names}"
        items = [
            f"a {name}(m, n, y_{name})", f"c {name}(n, m, y_{name})", f"b {name}(id_{name}, m, n)",
            f"(SELECT x AS m, count(*)::integer AS n FROM a GROUP BY x) {name}",
            f"(SELECT DISTINCT a_id AS m, x AS n FROM b) AS {name}",
            f"(VALUES (1, 2), (2, NULL), (NULL, 1)) {name}(m, n)",
            f"generate_series(0, 2) {name}(m)",
            f"ROWS FROM (generate_series(1, 2), unnest('{{2,3}}'::integer[])) {name}(m, n)",
        ]  # fmt: skip
        if left and r.random() < 0.5:
            other = r.choice(left)
            items = [
                f"generate_series(1, {other}.m) {name}(m)", f"unnest(ARRAY[{other}.m, 1]) WITH ORDINALITY {name}(n, o_{name})",
                f"LATERAL (SELECT y AS m, {other}.m + x AS n FROM c WHERE c.x <> {other}.m) {name}",
                f"LATERAL (SELECT max(x) AS m FROM b WHERE b.a_id = {other}.m) AS {name}",
                f"LATERAL (SELECT b.x AS n, b.a_id AS m FROM b WHERE b.x = {other}.m ORDER BY b.id LIMIT 1) {name}(n, m)",
                f"LATERAL (SELECT p.x AS m, p.y AS n FROM a p LEFT JOIN c q ON q.x = p.x AND q.y = {other}.m) {name}",
            ]  # fmt: skip
        return r.choice(items), [name]

    def tree(self, size, left):
        r = self.random
        if size == 1:
            return self.item(left)
        first = r.choice([size - 1, size - 1, 1])
        kind = r.choice(["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        lateral = kind in ("JOIN", "LEFT JOIN")
        one, there = self.tree(first, left if lateral else [])
        two, here = self.tree(size - first, [*left, *there] if lateral else [])
        if size - first > 1:
            two = f"({two})"
        roll = r.random()
        if roll < 0.3:
            condition = r.choice(
                [" USING (m)", " USING (m)", " USING (n)", " USING (m, n)", f" USING (m) AS j{self.names}"]
            )
        elif roll < 0.4:
            kind, condition = f"NATURAL {kind}", ""
        elif roll < 0.45 and kind == "JOIN":
            kind, condition = "CROSS JOIN", ""
        else:
            x, y = f"{r.choice(there)}.{r.choice('mn')}", f"{r.choice(here)}.m"
            condition = f" ON {x} {r.choice(['=', '=', '=', '<', '<>']) if kind != 'FULL JOIN' else '='} {y}"
            if r.random() < 0.2:
                condition += f" AND {r.choice([x, y])} {r.choice(['> 0', 'IS NOT NULL', '= 1', 'IN (SELECT x FROM b)'])}"
        return f"{one} {kind} {two}{condition}", [*there, *here]

    def statement(self):
        r = self.random
        source, names = self.tree(r.choice([2, 2, 3, 3, 4]), [])
        if r.random() < 0.15:
            more, others = self.item([])
            source, names = f"{more}, {source}", [*names, *others]
        columns = [
            f"{r.choice(names)}.m",
            f"{r.choice(names)}.m",
            *r.choice([["m"], ["n"], ["m", "n"], [], []]),
        ]
        columns = list(dict.fromkeys(columns))
        if r.random() < 0.1:
            return f"SELECT count(*) AS c, sum({columns[0]}) AS s FROM {source}"
        if r.random() < 0.2:
            return f"SELECT {', '.join(f'{c} AS o{i}' for i, c in enumerate(columns))}, count(*) AS c FROM {source} GROUP BY {', '.join(columns)}"
        if r.random() < 0.1:
            columns.append(f"row_to_json({r.choice(names)})::text")
        where = (
            f" WHERE {columns[0]} {r.choice(['IS NULL', '> 1', 'IS DISTINCT FROM 2'])}"
            if r.random() < 0.15
            else ""
        )
        return f"SELECT {', '.join(f'{c} AS o{i}' for i, c in enumerate(columns))} FROM {source}{where}"
