-- The yardstick: what one would write by hand for Q1, for INSERT, which is all that is measured.

CREATE TABLE pricing (
    l_returnflag char(1), l_linestatus char(1), qty numeric NOT NULL, base_price numeric NOT NULL, disc_price numeric NOT NULL,
    charge numeric NOT NULL, discount numeric NOT NULL, n bigint NOT NULL, PRIMARY KEY (l_returnflag, l_linestatus)
);

INSERT INTO pricing
SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice), sum(l_extendedprice * (1 - l_discount)),
    sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)), sum(l_discount), count(*)
FROM lineitem WHERE l_shipdate <= date '1998-12-01' - interval '90 days' GROUP BY l_returnflag, l_linestatus;

CREATE FUNCTION follow_lineitem() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO pricing AS p
    SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice), sum(l_extendedprice * (1 - l_discount)),
        sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)), sum(l_discount), count(*)
    FROM inserted WHERE l_shipdate <= date '1998-12-01' - interval '90 days' GROUP BY l_returnflag, l_linestatus
    ON CONFLICT (l_returnflag, l_linestatus) DO UPDATE SET
        qty = p.qty + excluded.qty, base_price = p.base_price + excluded.base_price,
        disc_price = p.disc_price + excluded.disc_price, charge = p.charge + excluded.charge,
        discount = p.discount + excluded.discount, n = p.n + excluded.n;
    RETURN NULL;
END
$body$;

CREATE TRIGGER follow_insert AFTER INSERT ON lineitem REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION follow_lineitem();
