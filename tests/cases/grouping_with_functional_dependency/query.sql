-- Columns that a primary key determines, read without being grouped by
SELECT users.user_id, name, upper(city) AS city, sum(cents) AS cents, avg(cents)
FROM users JOIN orders USING (user_id) GROUP BY users.user_id HAVING name <> 'Nobody'
