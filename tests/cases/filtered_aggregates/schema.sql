CREATE TABLE calls (city text, ok boolean, seconds integer, cost numeric);
-- data
INSERT INTO calls VALUES ('Oslo', true, 10, 1.5), ('Oslo', false, 20, 2.5), ('Rome', NULL, 30, NULL), ('Rome', true, NULL, 4);
