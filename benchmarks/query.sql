SELECT m.user_id, m.meter_id, r."timestamp"::date AS date, sum(r.value) AS value
FROM users AS u
JOIN meters AS m ON m.user_id = u.user_id
JOIN reads AS r ON r.meter_id = m.meter_id
GROUP BY m.user_id, m.meter_id, r."timestamp"::date
