"""The ledger's tables and longer statements, in SQL (`ledger.store` runs them)."""

from __future__ import annotations

SCHEMA = 7

LOOK_TABLE = """
CREATE TABLE look (file INTEGER NOT NULL, idx INTEGER NOT NULL, numbers BLOB NOT NULL, PRIMARY KEY (file, idx))
    WITHOUT ROWID"""
SECOND_TABLE = """
CREATE TABLE second (file INTEGER NOT NULL, idx INTEGER NOT NULL, liver INTEGER, tumour INTEGER,
    log_odds REAL NOT NULL, PRIMARY KEY (file, idx)) WITHOUT ROWID"""
STEPS = {5: LOOK_TABLE, 6: SECOND_TABLE}
"""By the schema that they begin at: what makes a ledger one of the next. Its rows stay, and so do their digests."""

ADDED = {5: "look", 6: "second"}
"""The tables that these steps add."""

TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE header (
    id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL, study TEXT NOT NULL, patient TEXT NOT NULL,
    info TEXT NOT NULL, digest BLOB NOT NULL UNIQUE);
CREATE TABLE library (id INTEGER PRIMARY KEY AUTOINCREMENT, versions TEXT NOT NULL UNIQUE);
CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    status INTEGER NOT NULL, reason TEXT, sha256 TEXT, window TEXT, header INTEGER, part TEXT,
    library INTEGER, digest BLOB);
CREATE TABLE slice (
    file INTEGER NOT NULL, idx INTEGER NOT NULL, status INTEGER NOT NULL, reason TEXT,
    label INTEGER, p0 REAL, p1 REAL, p2 REAL, facts TEXT NOT NULL, pixels INTEGER,
    PRIMARY KEY (file, idx)) WITHOUT ROWID;
CREATE TABLE mask (file INTEGER NOT NULL, idx INTEGER NOT NULL, labels BLOB NOT NULL, PRIMARY KEY (file, idx));
CREATE TABLE picture (
    file INTEGER NOT NULL, idx INTEGER NOT NULL, jpeg BLOB NOT NULL, side INTEGER NOT NULL, contours TEXT NOT NULL,
    digest BLOB NOT NULL, PRIMARY KEY (file, idx));
CREATE TABLE ctime (file INTEGER PRIMARY KEY, ctime_ns INTEGER NOT NULL);{LOOK_TABLE};{SECOND_TABLE};
"""
FOUND = """
CREATE TEMP TABLE found (
    path TEXT PRIMARY KEY, source TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, reason TEXT,
    kind TEXT NOT NULL, container TEXT, member INTEGER, part TEXT, ctime_ns INTEGER NOT NULL,
    altered INTEGER NOT NULL DEFAULT 0, unlisted INTEGER NOT NULL, shard INTEGER) WITHOUT ROWID;
CREATE TEMP TABLE scope (part TEXT PRIMARY KEY, path TEXT NOT NULL) WITHOUT ROWID;
CREATE TEMP TABLE named (part TEXT NOT NULL, written TEXT NOT NULL, PRIMARY KEY (part, written)) WITHOUT ROWID;
CREATE TEMP TABLE within (written TEXT PRIMARY KEY, part TEXT NOT NULL) WITHOUT ROWID;
"""
STAGE = """
INSERT OR IGNORE INTO found (path, part, source, size, mtime_ns, reason, kind, container, member, ctime_ns, unlisted,
    shard) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
ADOPT = """
DELETE FROM named;
INSERT INTO named SELECT DISTINCT found.part, file.part FROM found JOIN file USING (path) WHERE file.part IS NOT NULL;
INSERT INTO named SELECT part, CASE WHEN :hidden THEN lower(hex(randomblob(6))) ELSE part END
    FROM (SELECT DISTINCT part FROM found WHERE part IS NOT NULL AND part NOT IN (SELECT part FROM named));
DELETE FROM within;
INSERT INTO within SELECT written, part FROM named WHERE part IN (SELECT part FROM scope);
INSERT OR IGNORE INTO within SELECT path, part FROM scope WHERE path IN (SELECT path FROM found)
    OR path IN (SELECT path FROM file) OR path IN (SELECT part FROM file);
CREATE TEMP TABLE gone AS SELECT file.id FROM file LEFT JOIN found ON found.path = file.path
    WHERE (found.path IS NULL AND (NOT :scoped OR coalesce(file.part, file.path) IN (SELECT written FROM within
           WHERE part IN (SELECT coalesce(part, source) FROM found)
             AND part NOT IN (SELECT coalesce(part, source) FROM found WHERE unlisted))))
       OR found.size != file.size OR found.mtime_ns != file.mtime_ns OR found.altered OR found.reason IS NOT NULL
       OR file.status = 0 OR (:retry AND file.status = 2 AND found.path IS NOT NULL);
DELETE FROM slice WHERE file IN (SELECT id FROM gone);
DELETE FROM mask WHERE file IN (SELECT id FROM gone);
DELETE FROM look WHERE file IN (SELECT id FROM gone);
DELETE FROM second WHERE file IN (SELECT id FROM gone);
DELETE FROM picture WHERE file IN (SELECT id FROM gone);
DELETE FROM file WHERE id IN (SELECT id FROM gone);
DELETE FROM header WHERE id NOT IN (SELECT header FROM file WHERE header IS NOT NULL);
INSERT INTO file (path, size, mtime_ns, status, reason, part)
    SELECT path, size, mtime_ns, CASE WHEN reason IS NULL THEN 0 ELSE 2 END, reason,
        (SELECT min(written) FROM named WHERE named.part = found.part) FROM found
    WHERE path NOT IN (SELECT path FROM file) ORDER BY path;
DROP TABLE gone;
"""
RANKS = """
CREATE TEMP TABLE volume (id INTEGER PRIMARY KEY, name TEXT NOT NULL, study TEXT NOT NULL, info TEXT NOT NULL,
    arranged TEXT NOT NULL, copy_of TEXT, patient TEXT NOT NULL, sure INTEGER NOT NULL, slices INTEGER NOT NULL,
    path TEXT NOT NULL);
CREATE TEMP TABLE ranked (file INTEGER NOT NULL, idx INTEGER NOT NULL, volume INTEGER NOT NULL, rank INTEGER NOT NULL,
    position REAL, original INTEGER, pixels INTEGER, PRIMARY KEY (file, idx)) WITHOUT ROWID;
"""
# Made anew once all rows are there: kept up row by row, an index on random checksums takes twice the time.
RANK_INDICES = """
CREATE INDEX temp.by_pixels ON ranked (pixels, volume) WHERE original IS NULL AND pixels IS NOT NULL;
CREATE INDEX temp.by_volume ON ranked (volume, rank)
"""
EMPTY_RANKS = """
DROP INDEX IF EXISTS temp.by_pixels;
DROP INDEX IF EXISTS temp.by_volume;
DELETE FROM volume;
DELETE FROM ranked
"""
# A volume that shows the first answered slice of this one, and goes before it. It is of the same patient: only one of
# nobody known may be a copy of anybody's, so that no patient is hidden by another, or by a copy without a name.
SHOWS_THE_SAME = """
SELECT other.id, other.name FROM volume AS own
JOIN ranked AS first ON first.volume = own.id AND first.original IS NULL AND first.rank =
    (SELECT min(rank) FROM ranked WHERE volume = own.id AND original IS NULL AND pixels IS NOT NULL)
JOIN ranked AS same ON same.pixels = first.pixels AND same.original IS NULL AND same.volume != own.id
JOIN volume AS other ON other.id = same.volume
WHERE own.id = ? AND own.patient IN ('', other.patient)
  AND (other.patient != '', other.sure, other.slices, -length(other.path), own.path, -other.id)
    > (own.patient != '', own.sure, own.slices, -length(own.path), other.path, -own.id)
ORDER BY other.patient != '' DESC, other.sure DESC, other.slices DESC, length(other.path), other.path, other.id LIMIT 8
"""
# Slices that were excluded show nothing.
NOT_IN_IT = """
SELECT 1 FROM ranked AS own LEFT JOIN slice USING (file, idx)
WHERE own.volume = ? AND own.original IS NULL AND slice.status IS NOT 4 AND (own.pixels IS NULL OR NOT EXISTS
    (SELECT 1 FROM ranked AS other WHERE other.pixels = own.pixels AND other.volume = ? AND other.original IS NULL))
LIMIT 1
"""
FACTS = """
SELECT header.token, header.study, header.patient, header.info, file.id, file.path, coalesce(slice.idx, 0), slice.facts,
       file.sha256, slice.pixels
FROM file JOIN header ON header.id = file.header LEFT JOIN slice ON slice.file = file.id
WHERE file.status != 0 ORDER BY header.token
"""
SHARED_STUDIES = "SELECT study FROM header WHERE patient != '' GROUP BY study HAVING count(DISTINCT patient) > 1"
ROWS = """
SELECT file.path, coalesce(slice.idx, 0), coalesce(slice.status, file.status), coalesce(slice.reason, file.reason),
       slice.label, slice.p0, slice.p1, slice.p2, file.window, file.sha256,
       ranked.position, ranked.volume, original.path, file.id, second.liver, second.tumour, second.log_odds,
       ranked.rank + 1{look}
FROM file LEFT JOIN slice ON slice.file = file.id
LEFT JOIN ranked ON ranked.file = file.id AND ranked.idx = coalesce(slice.idx, 0)
LEFT JOIN file AS original ON original.id = ranked.original
LEFT JOIN second ON second.file = slice.file AND second.idx = slice.idx{join}
WHERE file.status != 0 ORDER BY {order}
"""
PENDING_FILES = "SELECT id, path, source, kind, container, member, found.mtime_ns FROM file JOIN found USING (path)"
BY_PATH = "file.path, slice.idx"
BY_RANK = "ranked.volume, ranked.rank, file.path, slice.idx"
ROWS_BY_PATH = ROWS.format(look="", join="", order=BY_PATH)
ROWS_BY_RANK = ROWS.format(
    look=", look.numbers",
    join="\nLEFT JOIN look ON look.file = slice.file AND look.idx = slice.idx",
    order=BY_RANK,
)

# The table's name is stored: `ALTER TABLE` would rewrite its description, which `check.tables` compares.
NEIGHBOUR_TABLE = "CREATE TABLE IF NOT EXISTS beside (file INTEGER PRIMARY KEY, digest TEXT NOT NULL)"
NEIGHBOURS = f"""
{NEIGHBOUR_TABLE};
CREATE TEMP TABLE ahead (id INTEGER PRIMARY KEY, token TEXT NOT NULL, study TEXT NOT NULL, patient TEXT NOT NULL,
    info TEXT NOT NULL, facts TEXT NOT NULL, sha256 TEXT);
CREATE TEMP TABLE queue (number INTEGER PRIMARY KEY, file INTEGER NOT NULL UNIQUE, neighbours TEXT NOT NULL);
"""
UNREAD = f"{PENDING_FILES} WHERE kind = ? AND status != 1 AND found.reason IS NULL AND path > ? ORDER BY path LIMIT ?"
MEMBERS = """
SELECT token, study, patient, info, id, file.path, 0, facts, one.sha256, NULL, file.status, beside.digest FROM (
    SELECT * FROM temp.ahead UNION ALL
    SELECT file.id, token, study, patient, info, min(slice.facts), iif(found.kind = 'picture', NULL, file.sha256)
    FROM file JOIN found USING (path) JOIN slice ON slice.file = file.id JOIN header ON header.id = file.header
    WHERE file.status = 1 GROUP BY file.id HAVING count(*) = 1) AS one
JOIN file USING (id) LEFT JOIN beside ON beside.file = id ORDER BY token
"""
DO_AGAIN = """
DELETE FROM slice WHERE file = ?1;
DELETE FROM mask WHERE file = ?1;
DELETE FROM look WHERE file = ?1;
DELETE FROM second WHERE file = ?1;
DELETE FROM picture WHERE file = ?1;
UPDATE file SET status = 0, reason = NULL, sha256 = NULL, window = NULL, header = NULL, library = NULL, digest = NULL
    WHERE id = ?1 AND status = 1
"""
DROP_HEADERS = "DELETE FROM header WHERE id NOT IN (SELECT header FROM file WHERE header IS NOT NULL)"
# What stands alone goes first: it may be long.
SETTLE = f"""
INSERT INTO queue SELECT -id, id, '' FROM file WHERE status = 0 AND id NOT IN (SELECT file FROM queue);
{DROP_HEADERS};
DELETE FROM beside WHERE file NOT IN (SELECT id FROM file)
"""
QUEUED = """
SELECT file.id, file.path, found.source, found.kind, found.container, found.member, found.mtime_ns,
       queue.neighbours, queue.number
FROM queue JOIN file ON file.id = queue.file JOIN found USING (path)
WHERE file.status = 0 AND queue.number > ? ORDER BY queue.number LIMIT ?
"""

ONCE = """FROM slice JOIN file ON file.id = slice.file
WHERE file.status = 1 AND (slice.file, slice.idx) NOT IN (SELECT file, idx FROM ranked WHERE original IS NOT NULL)"""
DOUBTFUL = """
SELECT found.path, found.source, found.container, found.member, file.sha256
FROM found JOIN file USING (path) JOIN ctime ON ctime.file = file.id
WHERE file.status != 0 AND found.reason IS NULL
  AND found.size = file.size AND found.mtime_ns = file.mtime_ns AND found.ctime_ns != ctime.ctime_ns
ORDER BY found.source
"""
SETTLE_CTIME = """
DELETE FROM ctime WHERE file NOT IN (SELECT id FROM file);
INSERT OR REPLACE INTO ctime SELECT file.id, found.ctime_ns FROM file JOIN found USING (path)
    LEFT JOIN ctime ON ctime.file = file.id WHERE ctime.ctime_ns IS NOT found.ctime_ns
"""

# A row of no size is a failure of its own kind (a folder that could not be listed, a link): no scan goes with it.
RESULTS_TO_GO = """
SELECT count(*), count(found.path) FROM file LEFT JOIN found USING (path) WHERE file.status != 0 AND file.size >= 0
"""
GOES_BELOW = """
SELECT 1 FROM file LEFT JOIN found USING (path)
WHERE file.path >= ? AND file.path < ? AND file.status != 0 AND file.size >= 0 AND found.path IS NULL LIMIT 1
"""
PARTS_TO_GO = """
SELECT count(*) FROM (SELECT file.part FROM file LEFT JOIN found USING (path)
    WHERE file.part IS NOT NULL AND file.status != 0 AND file.size >= 0
    GROUP BY file.part HAVING count(found.path) = 0)
"""

FAILED_SOURCES = """
SELECT file.path, coalesce(found.source, file.path) FROM file LEFT JOIN found USING (path)
WHERE file.status = 2 OR file.id IN (SELECT file FROM slice WHERE status = 2)
"""
ACKNOWLEDGED = """
SELECT (SELECT count(*) FROM file WHERE status = 2 AND acknowledged(path))
     + (SELECT count(*) FROM slice JOIN file ON file.id = slice.file WHERE slice.status = 2 AND acknowledged(path))
"""
