-- one more, below two others
INSERT INTO staff VALUES (5, 4, 'Eve', 1), (6, 5, 'Fay', 8);
-- two rows that join each other change in one statement
UPDATE staff SET boss = CASE id WHEN 2 THEN 3 WHEN 4 THEN 3 END WHERE id IN (2, 4);
-- all change
UPDATE staff SET pay = 10 - pay;
-- both partners go
DELETE FROM staff WHERE id IN (1, 3);
-- a boss of himself
UPDATE staff SET boss = id WHERE id = 5;
-- keys shift
UPDATE staff SET id = id + 100, boss = boss + 100;
