CREATE TABLE pays (who text, amount numeric);
-- data
INSERT INTO pays VALUES ('Ann', 5), ('Ann', 6), ('Bob', 20), (NULL, 1);
