-- Inner joins by ON, USING (also with an alias), NATURAL, comma, CROSS, mixed and in parentheses
-- view: by_on
SELECT u.name, m.kind, r.value FROM users u INNER JOIN meters m ON u.user_id = m.user_id JOIN reads r ON r.meter_id = m.meter_id
-- view: by_using
SELECT user_id, meter_id, name, value FROM users JOIN meters USING (user_id) JOIN reads USING (meter_id)
-- view: by_natural
SELECT * FROM users NATURAL JOIN meters NATURAL JOIN reads NATURAL JOIN regions
-- view: by_comma
SELECT u.name, g.title FROM users u, meters m, regions g WHERE u.user_id = m.user_id AND u.region = g.region
-- view: by_cross
SELECT u.name, g.title FROM users u CROSS JOIN regions g WHERE u.region <> g.region
-- view: mixed
SELECT u.name, m.kind, g.title FROM users u JOIN meters m USING (user_id), regions g WHERE g.region = u.region
-- view: parenthesised
SELECT u.name, r.value, g.title
FROM (users u JOIN regions g USING (region)) JOIN (meters m JOIN reads r ON r.meter_id = m.meter_id) ON m.user_id = u.user_id
-- view: nested_right
SELECT u.name, m.kind, r.at FROM users u JOIN meters m JOIN reads r ON r.meter_id = m.meter_id ON m.user_id = u.user_id
-- view: every_combination
SELECT count(*) AS n FROM users, meters, regions
-- view: on_true
SELECT u.name, g.title FROM users u JOIN regions g ON true
-- view: natural_without_common_columns
SELECT count(*) AS n FROM reads NATURAL JOIN regions
-- view: using_stars
SELECT u.*, m.meter_id, m.kind FROM users u JOIN meters m USING (user_id)
-- view: using_with_alias
SELECT j.*, j.user_id + 1 AS next, m.kind, "odd one".meter_id, value
FROM users u JOIN meters m USING (user_id) AS j JOIN reads USING (meter_id) AS "odd one" WHERE j.user_id < 3
