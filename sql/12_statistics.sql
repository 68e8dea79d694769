-- Variances, correlations and regressions, from sums that a change is added to: n rows, x and y summed, and their
-- squares and products xx, yy, xy. All in exact numerics.
--
-- For integers and numerics the digits are Postgres's own (numeric_stddev_internal in numeric.c). For floats the exact
-- value is rounded once: Postgres adds floats one after the other (Youngs, Cramer, Technometrics 13, 1971), and its
-- last digits depend on the order of the rows.

-- n times the sum of (x - mean of x) * (y - mean of y).
CREATE OR REPLACE FUNCTION stepping.scatter(n bigint, x numeric, y numeric, xy numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN n * xy - x * y;

CREATE OR REPLACE FUNCTION stepping.var_pop(n bigint, x numeric, xx numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN n < 1 THEN NULL
    WHEN stepping.scatter(n, x, x, xx) <= 0 THEN 0
    ELSE stepping.scatter(n, x, x, xx) / (n::numeric * n)
END;

CREATE OR REPLACE FUNCTION stepping.var_samp(n bigint, x numeric, xx numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN n < 2 THEN NULL
    WHEN stepping.scatter(n, x, x, xx) <= 0 THEN 0
    ELSE stepping.scatter(n, x, x, xx) / (n::numeric * (n - 1))
END;

-- The root to as many digits as the value has; so many more before that that it is rounded once.
CREATE OR REPLACE FUNCTION stepping.root(value numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(round(sqrt(round(value, 2 * scale(value) + 20)), scale(value)), value);

CREATE OR REPLACE FUNCTION stepping.stddev_pop(n bigint, x numeric, xx numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN stepping.root(stepping.var_pop(n, x, xx));

CREATE OR REPLACE FUNCTION stepping.stddev_samp(n bigint, x numeric, xx numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN stepping.root(stepping.var_samp(n, x, xx));

-- The nearest float; zero for what is too small to be one.
CREATE OR REPLACE FUNCTION stepping.nearest(value numeric) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(value) < 1e-323 THEN 0 ELSE value END::double precision;

CREATE OR REPLACE FUNCTION stepping.covar_pop(n bigint, x numeric, y numeric, xy numeric) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN n > 0 THEN stepping.nearest(stepping.scatter(n, x, y, xy) / (n::numeric * n)) END;

CREATE OR REPLACE FUNCTION stepping.covar_samp(n bigint, x numeric, y numeric, xy numeric) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN n > 1 THEN stepping.nearest(stepping.scatter(n, x, y, xy) / (n::numeric * (n - 1))) END;

CREATE OR REPLACE FUNCTION stepping.regr_mean(n bigint, x numeric) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN n > 0 THEN stepping.nearest(x / n) END;

CREATE OR REPLACE FUNCTION stepping.regr_sum(n bigint, x numeric, y numeric, xy numeric) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN n > 0 THEN stepping.nearest(stepping.scatter(n, x, y, xy) / n) END;

CREATE OR REPLACE FUNCTION stepping.corr(
    n bigint, x numeric, y numeric, xx numeric, yy numeric, xy numeric
) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    -- of a change that takes some rows and brings others they may be below zero
    WHEN n < 1 OR stepping.scatter(n, x, x, xx) <= 0 OR stepping.scatter(n, y, y, yy) <= 0 THEN NULL
    ELSE stepping.nearest(
        stepping.scatter(n, x, y, xy) / sqrt(stepping.scatter(n, x, x, xx) * stepping.scatter(n, y, y, yy))
    )
END;

CREATE OR REPLACE FUNCTION stepping.regr_r2(
    n bigint, x numeric, y numeric, xx numeric, yy numeric, xy numeric
) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN n < 1 OR stepping.scatter(n, x, x, xx) = 0 THEN NULL
    WHEN stepping.scatter(n, y, y, yy) = 0 THEN 1
    ELSE stepping.nearest(
        stepping.scatter(n, x, y, xy) * stepping.scatter(n, x, y, xy)
        / (stepping.scatter(n, x, x, xx) * stepping.scatter(n, y, y, yy))
    )
END;

CREATE OR REPLACE FUNCTION stepping.regr_slope(
    n bigint, x numeric, y numeric, xx numeric, xy numeric
) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN n < 1 OR stepping.scatter(n, x, x, xx) = 0 THEN NULL
    ELSE stepping.nearest(stepping.scatter(n, x, y, xy) / stepping.scatter(n, x, x, xx))
END;

CREATE OR REPLACE FUNCTION stepping.regr_intercept(
    n bigint, x numeric, y numeric, xx numeric, xy numeric
) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN n < 1 OR stepping.scatter(n, x, x, xx) = 0 THEN NULL
    ELSE stepping.nearest(
        (y * stepping.scatter(n, x, x, xx) - x * stepping.scatter(n, x, y, xy)) / (n * stepping.scatter(n, x, x, xx))
    )
END;
