-- Expressions over aggregates and keys together
SELECT k + 1 AS next, sum(x) * 2 - count(*) AS a, round(avg(y), 2) AS b, coalesce(sum(y), 0)::text || '!' AS c,
    CASE WHEN count(*) > 1 THEN 'many' ELSE 'one' END AS d, sum(x)::numeric / nullif(sum(y), 0) AS e,
    ARRAY[sum(x), count(y)] AS f, greatest(sum(x), k) AS g, sum(x) > 4 AND count(y) > 1 AS h,
    (sum(x) + sum(x + 0)) % 7 AS i, jsonb_build_object('k', k, 'sum', sum(x)) AS j, sum(x) IS DISTINCT FROM k AS l,
    sum(x) BETWEEN 1 AND 5 AS m, format('%s-%s', k, count(*)) AS n, (sum(x)) AS o, -sum(x) AS p, sum(x) FILTER (WHERE x > 1) ^ 2 AS q
FROM t GROUP BY k
