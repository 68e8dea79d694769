-- Tables with parts: partitions at every level, or children by inheritance. A statement fires the triggers of the table
-- that it names, with the rows of all its parts; so each member of such a family has the triggers of a stage that reads
-- its root. That a table joins the family or leaves it no trigger on a table can tell: event triggers do. Only a
-- superuser may create these; without them views of tables with parts are refused.

-- A table and all that are part of it.
CREATE OR REPLACE FUNCTION stepping.family(root regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    WITH RECURSIVE family (member) AS (
        SELECT root::oid
        UNION
        SELECT i.inhrelid FROM pg_inherits AS i JOIN family AS f ON f.member = i.inhparent
        WHERE NOT i.inhdetachpending
    )
    SELECT member::regclass FROM family ORDER BY member
$body$;

-- The stages that follow a table as one of a family, with the family's key and place among the sources of each.
CREATE OR REPLACE FUNCTION stepping.followers(
    followed regclass, OUT stage text, OUT number integer, OUT key text, OUT place integer, OUT role text
) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    -- Each argument of a trigger ends with a zero byte: key, number, place, role.
    SELECT left(p.proname, -length('__maintain')), substring(t.tgname FROM '[0-9]{6}')::integer,
        convert_from(substring(t.tgargs FOR position('\x00'::bytea IN t.tgargs) - 1), getdatabaseencoding()),
        substring(encode(t.tgargs, 'escape') FROM '([0-9]+)\\000[a-z]+\\000$')::integer,
        substring(encode(t.tgargs, 'escape') FROM '([a-z]+)\\000$')
    FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE t.tgrelid = followed AND t.tgname ~ '^stepping_[0-9]{6}_insert_' AND t.tgnargs = 4
    ORDER BY 2, 4
$body$;

-- Whether a table has parts, as a view was generated for, and the changes of all of them can be followed.
CREATE OR REPLACE FUNCTION stepping.check_parts(root regclass, parted boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    part record;
BEGIN
    IF parted <> EXISTS (SELECT FROM pg_class WHERE oid = root AND (relkind = 'p' OR EXISTS (
        SELECT FROM pg_inherits WHERE inhparent = root
    ))) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = concat(root, CASE WHEN parted THEN ' has no children any more' ELSE ' has got children' END),
            DETAIL = 'The view was generated when that was otherwise.',
            HINT = 'Generate it again.';
    END IF;
    IF parted AND NOT EXISTS (
        SELECT FROM pg_event_trigger
        WHERE evtname = 'stepping_parts_change' AND evtenabled IN ('O', 'A') AND evtfoid = to_regproc('stepping.parts_change')
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'feature_not_supported',
            MESSAGE = concat('cannot maintain a view of ', root, ', which has partitions or children'),
            DETAIL = 'That these come and go is told by event triggers, which are missing or disabled.',
            HINT = 'Run pg-stepping init once as a superuser: it adds them.';
    END IF;
    FOR part IN
        SELECT c.oid AS id, c.oid::regclass AS name, c.relkind = 'f' AS is_foreign, c.relpersistence <> 'p' AS is_brief
        FROM stepping.family(root) AS f (member) JOIN pg_class AS c ON c.oid = f.member
        WHERE c.relkind NOT IN ('r', 'p') OR c.relpersistence <> 'p' OR EXISTS (
            SELECT FROM pg_inherits AS i
            WHERE i.inhrelid = c.oid AND (c.oid = root OR i.inhparent NOT IN (SELECT stepping.family(root)))
        )
    LOOP
        RAISE EXCEPTION USING
            ERRCODE = 'feature_not_supported',
            MESSAGE = concat('a maintained view cannot read ', root, CASE
                WHEN part.is_foreign THEN concat(' with its part ', part.name, ', a foreign table')
                WHEN part.is_brief THEN concat(' with its part ', part.name, ', an unlogged or temporary table')
                WHEN part.id = root THEN ', which is part of another table'
                ELSE concat(' with its part ', part.name, ', which is part of another table too')
            END),
            DETAIL = 'It could be changed without firing the triggers of the view.',
            HINT = 'Drop the view before, or keep this table out of the other.';
    END LOOP;
END
$body$;

-- Gives a table of a family, when all have their triggers, what it has beside these. MERGE puts the old version of a row that it
-- moves to another partition into no transition table. Postgres allows no MERGE on a table with a rule, so each
-- partitioned table gets one: a disabled one, which does nothing else.
CREATE OR REPLACE FUNCTION stepping.follow_part(part regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = part AND tgname = 'stepping_part') THEN
        RETURN;
    END IF;
    EXECUTE concat(
        'CREATE TRIGGER stepping_part BEFORE TRUNCATE ON ', part,
        ' FOR EACH STATEMENT EXECUTE FUNCTION stepping.truncate_part()'
    );
    IF EXISTS (SELECT FROM pg_class WHERE oid = part AND relkind = 'p') THEN
        EXECUTE concat('CREATE RULE stepping_no_merge AS ON DELETE TO ', part, ' DO ALSO NOTHING');
        EXECUTE concat('ALTER TABLE ', part, ' ENABLE ALWAYS RULE stepping_no_merge');
        EXECUTE concat(
            'COMMENT ON RULE stepping_no_merge ON ', part,
            ' IS ''Keeps MERGE off this table, which a maintained view reads: it does not tell of rows that it moves.'''
        );
    END IF;
END
$body$;

-- Rows are put into a table of the view's owner, by an event trigger with the rights of a superuser: it must have nothing
-- that would run with these.
CREATE OR REPLACE FUNCTION stepping.check_aside(aside regclass, part regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    columns smallint := (SELECT max(attnum) FROM pg_attribute WHERE attrelid = aside);
    found text;
BEGIN
    SELECT CASE
        WHEN c.relkind <> 'r' OR c.relhassubclass THEN 'is no table'
        WHEN c.relhasrules THEN 'has a rule'
        WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = aside AND tgtype & 4 <> 0) THEN 'has a trigger'
        WHEN EXISTS (SELECT FROM pg_constraint WHERE conrelid = aside AND contype <> 'n') THEN 'has a constraint'
        WHEN EXISTS (SELECT FROM pg_index WHERE indrelid = aside) THEN 'has an index'
    END INTO found
    FROM pg_class AS c WHERE c.oid = aside;
    IF found IS NULL THEN
        SELECT concat('has another column ', a.attname) INTO found
        FROM pg_attribute AS a
        LEFT JOIN pg_attribute AS p ON p.attrelid = part AND p.attname = a.attname AND p.atttypid = a.atttypid
        WHERE a.attrelid = aside AND a.attnum > 0 AND (a.attisdropped OR a.attgenerated <> '' OR CASE columns - a.attnum
            WHEN 0 THEN a.atttypid NOT IN ('bpchar'::regtype, 'timestamptz'::regtype)
            WHEN 1 THEN a.atttypid <> 'integer'::regtype
            ELSE p.attnum IS NULL
        END) LIMIT 1;
    END IF;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = concat(aside, ' ', found, ': that would run with the rights of ', current_user),
            HINT = 'Drop the view, and make it again; nothing of your own belongs on its tables.';
    END IF;
END
$body$;

-- Sets all rows of one table of a family aside as changes for the stages that follow it: it is truncated, joined the
-- family or left it. The columns of the table for that are those that the stage reads, the weight, and one that is not
-- to be given.
CREATE OR REPLACE FUNCTION stepping.set_rows_aside(part regclass, weight integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    follower record;
    aside regclass;
    names text[];
    found integer;
    has_logs boolean;
BEGIN
    FOR follower IN SELECT * FROM stepping.followers(part) LOOP
        IF current_setting('session_replication_role') = 'replica' THEN  -- what carries changes on does not fire
            PERFORM stepping.suspect(part, 'came or went with session_replication_role = replica');
            CONTINUE;
        END IF;
        has_logs := stepping.has_logs(follower.stage);
        IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
            RAISE EXCEPTION USING
                ERRCODE = 'feature_not_supported',
                MESSAGE = concat(
                    'cannot maintain stepping.', follower.stage, ' at ', upper(current_setting('transaction_isolation'))
                ),
                DETAIL = concat('All rows of ', part, ' come or go, and this transaction does not see those committed since it began.'),
                HINT = 'Do it at READ COMMITTED.';
        END IF;
        aside := concat('stepping.', quote_ident(concat(
            follower.stage, CASE WHEN has_logs THEN '__log_' ELSE '__aside_' END, follower.place
        )))::regclass;
        EXECUTE concat('LOCK TABLE ', aside, ' IN ROW EXCLUSIVE MODE');
        PERFORM stepping.check_aside(aside, part);
        names := ARRAY(SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = aside AND attnum > 0 ORDER BY attnum);
        EXECUTE concat(
            'INSERT INTO ', aside, ' (', array_to_string(names, ', '), ') SELECT ',
            array_to_string(trim_array(names, 2) || weight::text || CASE WHEN has_logs THEN 'now()' ELSE 'NULL' END, ', '),
            ' FROM ONLY ', part
        );
        GET DIAGNOSTICS found = ROW_COUNT;
        IF found > 0 AND has_logs THEN
            PERFORM stepping.logged(follower.stage, aside);
        ELSIF found > 0 THEN
            PERFORM stepping.wait(follower.stage, follower.number);
        END IF;
    END LOOP;
END
$body$;

-- A table joined the family of `parent`, or (NULL) left the one that it was in, with all that are part of it: its rows
-- are changes, as if they were inserted or deleted. Whoever may have read the family as it was must end before.
CREATE OR REPLACE FUNCTION stepping.change_family(changed regclass, parent regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    root regclass;
    member regclass;
    trigger_name text;
BEGIN
    FOR root IN
        SELECT DISTINCT t.tgrelid::regclass
        FROM stepping.followers(coalesce(parent, changed)) AS f
        JOIN pg_trigger AS t ON quote_ident(t.tgname) = stepping.trigger_name(f.number, 'insert', f.stage)
        CROSS JOIN LATERAL stepping.followers(t.tgrelid::regclass) AS r
        WHERE (r.number, r.place, r.role) = (f.number, f.place, 'root')
        ORDER BY 1
    LOOP
        EXECUTE concat('LOCK TABLE ONLY ', root, ' IN ACCESS EXCLUSIVE MODE');
        IF parent IS NOT NULL THEN
            PERFORM stepping.check_parts(root, true);
        END IF;
    END LOOP;
    FOR member IN SELECT stepping.family(changed) LOOP
        IF parent IS NOT NULL THEN
            PERFORM stepping.refuse_link(member, parent) FROM pg_trigger
            WHERE tgrelid = member AND tgname ~ '^stepping_[0-9]{6}_insert_';
            PERFORM stepping.follow_table(member, stage, number, key, concat(', ', place, ', ''part'''))
            FROM stepping.followers(parent);
            PERFORM stepping.set_rows_aside(member, 1);
            CONTINUE;
        END IF;
        PERFORM stepping.set_rows_aside(member, -1);
        FOR trigger_name IN SELECT tgname FROM pg_trigger WHERE tgrelid = member AND tgname ~ '^stepping_[0-9]{6}_' LOOP
            EXECUTE concat('DROP TRIGGER ', quote_ident(trigger_name), ' ON ', member);
        END LOOP;
    END LOOP;
    PERFORM stepping.follow_part(m) FROM stepping.family(changed) AS m WHERE parent IS NOT NULL;
    PERFORM stepping.follow_replica(m) FROM stepping.family(changed) AS m WHERE parent IS NOT NULL;
    PERFORM stepping.unfollow_tables();
    IF coalesce(current_setting('stepping.open', true), '') = '' AND current_setting('stepping.waiting', true) <> '' THEN
        PERFORM set_config('stepping.open', '+', true);
        PERFORM stepping.settle();
        PERFORM set_config('stepping.open', '', true);
    END IF;
END
$body$;

CREATE OR REPLACE FUNCTION stepping.refuse_link(part regclass, parent regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'feature_not_supported',
        MESSAGE = concat(part, ' cannot become part of ', parent, ': a maintained view reads one of them as it is'),
        HINT = 'Drop the view before, and make it again afterwards.';
END
$body$;

-- The event triggers. They run at every DDL of every role, with the rights of the superuser who made them, and look at
-- pg_catalog alone unless a family is concerned.
DO $body$
DECLARE
    part regclass;
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;

    -- Views that were made before have it disabled: from PostgreSQL 17 on that lets MERGE pass.
    FOR part IN SELECT ev_class FROM pg_catalog.pg_rewrite WHERE rulename = 'stepping_no_merge' AND ev_enabled <> 'A' LOOP
        EXECUTE pg_catalog.concat('ALTER TABLE ', part, ' ENABLE ALWAYS RULE stepping_no_merge');
    END LOOP;

    CREATE OR REPLACE FUNCTION stepping.truncate_part() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
    BEGIN
        PERFORM stepping.set_rows_aside(TG_RELID::regclass, -1);
        RETURN NULL;
    END
    $function$;

    CREATE OR REPLACE FUNCTION stepping.parts_change() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
    DECLARE
        touched oid[] := ARRAY(SELECT objid FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_class'::regclass);
        link record;
    BEGIN
        IF NOT EXISTS (
            SELECT FROM pg_trigger
            WHERE tgname ~ '^stepping_[0-9]{6}_insert_' AND (
                tgrelid = ANY (touched)
                OR tgrelid IN (SELECT inhparent FROM pg_inherits WHERE inhrelid = ANY (touched))
                OR tgrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = ANY (touched))
            )
        ) THEN
            RETURN;
        END IF;
        FOR link IN  -- what left
            SELECT DISTINCT t.tgrelid::regclass AS part
            FROM pg_trigger AS t CROSS JOIN LATERAL stepping.followers(t.tgrelid::regclass) AS f
            WHERE t.tgname = 'stepping_part' AND f.role = 'part' AND NOT EXISTS (
                SELECT FROM pg_inherits AS i CROSS JOIN LATERAL stepping.followers(i.inhparent::regclass) AS p
                WHERE i.inhrelid = t.tgrelid AND NOT i.inhdetachpending AND (p.number, p.place) = (f.number, f.place)
            )
            ORDER BY 1
        LOOP
            PERFORM stepping.change_family(link.part, NULL::regclass);
        END LOOP;
        FOR link IN  -- what joined, or must not
            SELECT i.inhrelid::regclass AS part, i.inhparent::regclass AS parent,
                EXISTS (
                    SELECT FROM pg_trigger WHERE tgrelid = i.inhrelid AND tgname ~ '^stepping_[0-9]{6}_insert_'
                ) AS is_followed,
                EXISTS (
                    SELECT FROM pg_trigger
                    WHERE tgrelid IN (i.inhrelid, i.inhparent) AND tgname ~ '^stepping_[0-9]{6}_insert_' AND tgnargs < 4
                ) OR EXISTS (SELECT FROM stepping.followers(i.inhrelid::regclass) WHERE role = 'root') AS is_read_alone,
                ARRAY(SELECT (number, place) FROM stepping.followers(i.inhrelid::regclass)) AS followers,
                ARRAY(SELECT (number, place) FROM stepping.followers(i.inhparent::regclass)) AS followers_of_parent
            FROM pg_inherits AS i
            WHERE (i.inhrelid = ANY (touched) OR i.inhparent = ANY (touched)) AND NOT i.inhdetachpending
            ORDER BY i.inhrelid, i.inhseqno
        LOOP
            IF link.is_read_alone OR (link.is_followed AND link.followers <> link.followers_of_parent) THEN
                PERFORM stepping.refuse_link(link.part, link.parent);
            ELSIF link.followers <> link.followers_of_parent THEN
                PERFORM stepping.change_family(link.part, link.parent);
            END IF;
        END LOOP;
    END
    $function$;

    -- The rows of a table that is dropped can be read no more.
    CREATE OR REPLACE FUNCTION stepping.parts_drop() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
    DECLARE
        part text;
    BEGIN
        FOR part IN
            WITH dropped AS (
                SELECT concat(quote_ident(address_names[1]), '.', quote_ident(address_names[2])) AS of, address_names[3] AS name
                FROM pg_event_trigger_dropped_objects() WHERE object_type = 'trigger' AND NOT original
            )
            SELECT d.of
            FROM dropped AS d
            JOIN pg_trigger AS t ON t.tgname = d.name AND t.tgnargs = 4
            CROSS JOIN LATERAL stepping.followers(t.tgrelid::regclass) AS f
            WHERE d.of IN (SELECT of FROM dropped WHERE name = 'stepping_part') AND f.role = 'root'
            ORDER BY 1
        LOOP
            RAISE EXCEPTION USING
                ERRCODE = 'dependent_objects_still_exist',
                MESSAGE = concat('cannot drop ', part, ': a maintained view counts its rows'),
                HINT = 'First take it out of its table, by ALTER TABLE ... DETACH PARTITION or NO INHERIT; the view follows.';
        END LOOP;
    END
    $function$;

    -- DETACH CONCURRENTLY commits in between: then readers see the partition no more, and the view has it still.
    -- It is always a query of its own: a script that only has these words, as this one, is none.
    CREATE OR REPLACE FUNCTION stepping.parts_refuse_concurrently() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
    BEGIN
        IF current_query() ~* '^(\s|--[^\n]*\n|/\*.*\*/)*alter\M.*\mdetach\M.*\m(concurrently|finalize)\M' AND EXISTS (
            SELECT FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
            WHERE t.tgname = 'stepping_part' AND position(lower(c.relname) IN lower(current_query())) > 0
        ) THEN
            RAISE EXCEPTION USING
                ERRCODE = 'feature_not_supported',
                MESSAGE = 'a partition that a maintained view reads cannot be detached CONCURRENTLY',
                HINT = 'DETACH it without that word, or drop the view before.';
        END IF;
    END
    $function$;

    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'stepping_parts_change') THEN
        CREATE EVENT TRIGGER stepping_parts_change ON ddl_command_end
            WHEN TAG IN ('ALTER TABLE', 'CREATE TABLE', 'ALTER FOREIGN TABLE', 'CREATE FOREIGN TABLE', 'CREATE SCHEMA')
            EXECUTE FUNCTION stepping.parts_change();
        CREATE EVENT TRIGGER stepping_parts_drop ON sql_drop
            EXECUTE FUNCTION stepping.parts_drop();
        CREATE EVENT TRIGGER stepping_parts_refuse_concurrently ON ddl_command_start
            WHEN TAG IN ('ALTER TABLE')
            EXECUTE FUNCTION stepping.parts_refuse_concurrently();
    END IF;
END
$body$;
