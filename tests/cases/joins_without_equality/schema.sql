CREATE TABLE prices (item text, during int4range, price numeric(8, 2));
CREATE TABLE sales (item text, day integer, amount integer);
-- data
INSERT INTO prices VALUES ('cup', '[1,10)', 2.00), ('cup', '[10,20)', 2.50), ('pan', '[1,20)', 9.99);
INSERT INTO sales VALUES ('cup', 3, 2), ('cup', 12, 1), ('pan', 4, 1), ('pot', 5, 5);
