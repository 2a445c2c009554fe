-- Every cell per host from the journals of one folder or of hundreds: median, spread, multiple of its floor.
--
-- Usage:  scripts/data/duckdb.sh 'results/*/*'
-- Needs:  duckdb. The pattern of folders comes in the variable `folders`; docs/DATA.md lists every field.
--
-- Only the fields that are asked for are named, so that a field which no run here has is NULL and no error. Runs count if
-- their status is ok and they have no flag; take the last condition of `counted` away to count as summary.csv does.
-- Labelled runs are controls of the instrument and no rows.

CREATE TEMP TABLE runs AS
SELECT *, parse_path(filename)[:-2] AS folder
FROM read_json(
    getvariable('folders') || '/cells.jsonl',
    format = 'newline_delimited',
    filename = true,
    columns = {
        mechanism: 'VARCHAR', workload: 'VARCHAR', size: 'UBIGINT', wait: 'VARCHAR', parties: 'VARCHAR', touch: 'VARCHAR',
        offered: 'STRUCT(rate UBIGINT, arrivals VARCHAR)', outstanding: 'UINTEGER', batch: 'UINTEGER', peers: 'UINTEGER',
        nagle: 'BOOLEAN', pages: 'STRUCT(huge BOOLEAN, populate BOOLEAN)',
        placement: 'STRUCT(requested VARCHAR)', run: 'STRUCT(round UINTEGER, "label" VARCHAR)',
        messages: 'UBIGINT', elapsed_ns: 'UBIGINT', floor: 'STRUCT(multiple DOUBLE)',
        status: 'VARCHAR', flags: 'VARCHAR[]'
    }
);

CREATE TEMP TABLE hosts AS
SELECT slug AS host, parse_path(filename)[:-2] AS folder
FROM read_json(getvariable('folders') || '/host.json', format = 'unstructured', filename = true, columns = {slug: 'VARCHAR'});

CREATE TEMP VIEW counted AS
SELECT *, elapsed_ns / messages AS ns
FROM runs JOIN hosts USING (folder)
WHERE status = 'ok' AND run.label IS NULL
  AND len(flags) = 0;

SELECT
    host,
    concat_ws(', ', workload || ' ' || size || ' B', coalesce(offered.rate || '/s ' || offered.arrivals, offered.arrivals),
        'outstanding ' || outstanding, 'batch ' || batch, 'peers ' || peers, wait, placement.requested,
        nullif(touch, 'whole'), if(nagle, 'nagle', NULL), if(pages.huge, 'huge pages', NULL),
        if(pages.populate, 'populated pages', NULL)) AS class,
    mechanism, parties,
    count(*) AS n,
    count(DISTINCT folder) AS folders,
    round(median(ns), 3) AS median_ns,
    round(quantile_cont(ns, 0.75) - quantile_cont(ns, 0.25), 3) AS iqr_ns,
    round(min(ns), 3) AS least_ns,
    round(max(ns), 3) AS most_ns,
    round(median(floor.multiple), 3) AS x_floor
FROM counted
GROUP BY ALL
ORDER BY host, class, median_ns;
