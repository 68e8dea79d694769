-- A result with duplicate rows, NULLs among them
SELECT color, weight > 1 AS heavy FROM parts
