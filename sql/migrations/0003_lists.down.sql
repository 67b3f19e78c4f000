-- Puts the text of each list in its place, so that rows that refer to it are whole.
UPDATE {contents} SET body = {joined_contents}("time", ARRAY[content_id]), parts = NULL WHERE parts IS NOT NULL;
DELETE FROM {contents} WHERE body IS NULL;

CREATE OR REPLACE FUNCTION {joined_contents}(of_day timestamptz, ids uuid[]) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET plan_cache_mode = force_generic_plan SET search_path = pg_catalog, pg_temp
AS $reading$
DECLARE
    joined text;
    parts bigint;
BEGIN
    SELECT string_agg(c.body, '' ORDER BY wanted.place), count(*) INTO joined, parts
      FROM unnest(ids) WITH ORDINALITY AS wanted(id, place)
      JOIN {contents} AS c
        ON c.content_id = wanted.id AND c."time" = date_trunc('day', of_day AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    RETURN CASE WHEN parts = cardinality(ids) THEN joined END;
END
$reading$;

DROP FUNCTION {contents_say}(timestamptz, uuid[], tsquery);
ALTER TABLE {contents} DROP COLUMN parts, ALTER COLUMN body SET NOT NULL;
COMMENT ON TABLE {contents} IS 'Long texts, or parts of them, that rows of one day refer to: each once a day, however often it was sent.';
COMMENT ON COLUMN {contents}.content_id IS 'First 16 bytes of the SHA-256 of the text in UTF-8.';
COMMENT ON COLUMN {contents}.body IS 'The text: whole, or a part of JSON between two of its values. The parts of an input or output follow each other without a gap.';
