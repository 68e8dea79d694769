-- GROUP BY columns, expressions, ordinals, aliases, constants and NULL keys
-- view: by_column
SELECT who, count(*) AS n, sum(n) AS total FROM notes GROUP BY who
-- view: by_expression
SELECT upper(who) AS who, count(n) FROM notes GROUP BY upper(who)
-- view: by_ordinal
SELECT date_trunc('month', at), mood, count(*) FROM notes GROUP BY 1, 2
-- view: by_alias
SELECT n % 2 AS odd, sum(n) FROM notes GROUP BY odd
-- view: by_constant
SELECT 'all' AS what, 7 AS seven, count(*) FROM notes GROUP BY what, 2
-- view: by_null
SELECT NULL::integer AS nothing, count(*) FROM notes GROUP BY 1
-- view: key_not_shown
SELECT count(*) FROM notes GROUP BY mood
-- view: key_within_expression
SELECT lower(who) || '!' AS loud, length(lower(who)) + count(*) AS n FROM notes GROUP BY lower(who)
-- view: by_array
SELECT tags, count(*), tags[1] AS first FROM notes GROUP BY tags
-- view: by_boolean
SELECT n > 1, count(*) FROM notes GROUP BY n > 1
-- view: by_row_key
SELECT id, who, count(*) FROM notes GROUP BY id
-- view: by_two_of_one
SELECT who AS a, who AS b, count(*) FROM notes GROUP BY who, who
-- view: without_aggregates
SELECT mood FROM notes GROUP BY mood
