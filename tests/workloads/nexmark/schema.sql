-- The events of Nexmark as tables; times are event times, and a bid has no key.
CREATE TABLE person (
    id bigint PRIMARY KEY, name text NOT NULL, email text, credit_card text, city text, state text,
    date_time timestamp NOT NULL, extra text
);
CREATE TABLE auction (
    id bigint PRIMARY KEY, item_name text NOT NULL, description text, initial_bid bigint, reserve bigint,
    date_time timestamp NOT NULL, expires timestamp NOT NULL, seller bigint NOT NULL, category bigint NOT NULL,
    extra text
);
CREATE TABLE bid (
    auction bigint NOT NULL, bidder bigint NOT NULL, price bigint NOT NULL, channel text, url text,
    date_time timestamp NOT NULL, extra text
);
CREATE INDEX ON auction (seller);
CREATE INDEX ON bid (auction);
CREATE INDEX ON bid (bidder);
CREATE INDEX ON bid (date_time);
