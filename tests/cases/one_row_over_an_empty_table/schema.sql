CREATE TABLE events (at date, n integer);
-- data
INSERT INTO events VALUES ('2024-01-01', 1), ('2024-01-02', NULL);
