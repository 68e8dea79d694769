-- rows of both kinds
INSERT INTO calls VALUES ('Oslo', true, 5, 5), ('Rome', false, 1, 1), ('Bonn', false, 1, 1);
-- the filter is crossed both ways
UPDATE calls SET ok = NOT ok;
-- a filter's own column
UPDATE calls SET cost = cost - 1, seconds = seconds + 1;
-- HAVING is crossed
UPDATE calls SET ok = false WHERE city = 'Rome';
-- and back
UPDATE calls SET ok = true WHERE city = 'Rome';
-- rows go
DELETE FROM calls WHERE ok;
