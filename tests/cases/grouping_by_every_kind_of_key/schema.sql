CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE notes (id integer PRIMARY KEY, who text, mood mood, at timestamp, n integer, tags text[]);
-- data
INSERT INTO notes VALUES
    (1, 'Ann', 'glad', '2024-01-01 10:00', 1, '{a}'), (2, 'ann', 'sad', '2024-01-01 11:00', 2, '{a,b}'),
    (3, NULL, NULL, NULL, 3, NULL), (4, NULL, 'sad', '2024-02-01 10:00', NULL, '{}');
