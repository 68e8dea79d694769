-- a row
INSERT INTO events VALUES ('2024-01-03', 3), ('2024-01-03', 4);
-- all go
DELETE FROM events;
-- one comes
INSERT INTO events VALUES (NULL, NULL);
-- it is known
UPDATE events SET n = 5, at = '2024-01-01';
-- all go otherwise
TRUNCATE events;
-- and come
INSERT INTO events VALUES ('2024-01-03', 3);
