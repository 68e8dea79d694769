CREATE TABLE sales (shop text, day date, cents bigint);
-- data
INSERT INTO sales VALUES ('A', '2024-01-01', 100), ('A', '2024-01-01', 50), ('A', '2024-01-02', 70), ('B', '2024-01-01', 30);
