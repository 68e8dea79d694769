-- HAVING with aggregates that are shown and that are not, and with none
-- view: shown
SELECT who, sum(amount) AS total FROM pays GROUP BY who HAVING sum(amount) > 10
-- view: not_shown
SELECT who FROM pays GROUP BY who HAVING count(*) > 1 AND avg(amount) < 10
-- view: on_the_key
SELECT who, count(*) FROM pays GROUP BY who HAVING who <> 'Bob' OR who IS NULL
-- view: without_group
SELECT sum(amount) AS total FROM pays HAVING count(*) > 2
-- view: without_any_aggregate_shown
SELECT 'many' AS word FROM pays HAVING count(*) > 3
-- view: beside_where
SELECT who, count(*) AS n FROM pays WHERE amount > 2 GROUP BY who HAVING count(*) > 1 AND NOT bool(sum(amount)::integer % 2)
