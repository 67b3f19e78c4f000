-- A long text of many parts has lists of them among the contents: a row then refers to these, and not to each part.

ALTER TABLE {contents} ADD COLUMN parts uuid[], ALTER COLUMN body DROP NOT NULL;
COMMENT ON TABLE {contents} IS 'Long texts, or parts of them, that rows of one day refer to, and lists of parts: each once a day, however often it was sent.';
COMMENT ON COLUMN {contents}.content_id IS 'First 16 bytes of the SHA-256 of the text in UTF-8; of a list, of a byte 255 and the ids that it consists of.';
COMMENT ON COLUMN {contents}.body IS 'The text: whole, or a part of JSON between two of its values. The parts of an input or output follow each other without a gap. NULL of a list.';
COMMENT ON COLUMN {contents}.parts IS 'Of a list, the texts that it stands for, in their order, of the same day: contents.content_id. NULL of a text.';

CREATE OR REPLACE FUNCTION {joined_contents}(of_day timestamptz, ids uuid[]) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET plan_cache_mode = force_generic_plan SET search_path = pg_catalog, pg_temp
AS $reading$
DECLARE
    day timestamptz := date_trunc('day', of_day AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    joined text;
    is_whole boolean;
BEGIN
    SELECT string_agg(coalesce(named.body, listed.body), '' ORDER BY wanted.place, part.place),
           count(coalesce(named.body, listed.body)) = count(*) INTO joined, is_whole
      FROM unnest(ids) WITH ORDINALITY AS wanted(id, place)
      LEFT JOIN {contents} AS named ON named.content_id = wanted.id AND named."time" = day
      LEFT JOIN LATERAL unnest(named.parts) WITH ORDINALITY AS part(id, place) ON true
      LEFT JOIN {contents} AS listed ON listed.content_id = part.id AND listed."time" = day;
    RETURN CASE WHEN is_whole THEN joined END;
END
$reading$;

-- A search asks it of the rows that it looks at, where what it looks for is in too many parts to be named.
CREATE FUNCTION {contents_say}(of_day timestamptz, ids uuid[], asked tsquery) RETURNS boolean
LANGUAGE plpgsql STABLE COST 10000
SET plan_cache_mode = force_generic_plan SET jit = off SET search_path = pg_catalog, pg_temp
AS $reading$
DECLARE
    day timestamptz := date_trunc('day', of_day AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
BEGIN
    RETURN ids IS NOT NULL AND EXISTS (
        SELECT FROM unnest(ids) AS wanted(id)
          JOIN {contents} AS named ON named.content_id = wanted.id AND named."time" = day
          LEFT JOIN LATERAL unnest(named.parts) AS part(id) ON true
          LEFT JOIN {contents} AS listed ON listed.content_id = part.id AND listed."time" = day
         WHERE {words_of_text}(coalesce(named.body, listed.body)) @@ asked);
END
$reading$;
COMMENT ON FUNCTION {contents_say}(timestamptz, uuid[], tsquery) IS 'Whether one of the texts that contents stand for has what is asked, by the time of the row that refers to them, to whoever may read that.';
REVOKE ALL ON FUNCTION {contents_say}(timestamptz, uuid[], tsquery) FROM PUBLIC;
