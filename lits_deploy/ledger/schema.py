"""The ledger's tables and longer statements, in SQL (`ledger.store` runs them)."""

from __future__ import annotations

SCHEMA = 4

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE series (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, study TEXT NOT NULL, info TEXT NOT NULL,
    digest BLOB NOT NULL);
CREATE TABLE library (id INTEGER PRIMARY KEY AUTOINCREMENT, versions TEXT NOT NULL UNIQUE);
CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    status INTEGER NOT NULL, reason TEXT, sha256 TEXT, window TEXT, series INTEGER, part TEXT,
    library INTEGER, digest BLOB);
CREATE TABLE slice (
    file INTEGER NOT NULL, idx INTEGER NOT NULL, status INTEGER NOT NULL, reason TEXT,
    label INTEGER, p0 REAL, p1 REAL, p2 REAL, position REAL, PRIMARY KEY (file, idx)) WITHOUT ROWID;
CREATE TABLE mask (file INTEGER NOT NULL, idx INTEGER NOT NULL, labels BLOB NOT NULL, PRIMARY KEY (file, idx));
CREATE TABLE picture (
    file INTEGER NOT NULL, idx INTEGER NOT NULL, jpeg BLOB NOT NULL, side INTEGER NOT NULL, contours TEXT NOT NULL,
    digest BLOB NOT NULL, PRIMARY KEY (file, idx));
CREATE TABLE ctime (file INTEGER PRIMARY KEY, ctime_ns INTEGER NOT NULL);
"""
FOUND = """
CREATE TEMP TABLE found (
    path TEXT PRIMARY KEY, place TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, reason TEXT,
    kind TEXT NOT NULL, container TEXT, member INTEGER, part TEXT, ctime_ns INTEGER NOT NULL,
    altered INTEGER NOT NULL DEFAULT 0, unlisted INTEGER NOT NULL) WITHOUT ROWID;
CREATE TEMP TABLE scope (part TEXT PRIMARY KEY, path TEXT NOT NULL) WITHOUT ROWID;
CREATE TEMP TABLE named (part TEXT NOT NULL, written TEXT NOT NULL, PRIMARY KEY (part, written)) WITHOUT ROWID;
CREATE TEMP TABLE within (written TEXT PRIMARY KEY, part TEXT NOT NULL) WITHOUT ROWID;
"""
STAGE = """
INSERT OR IGNORE INTO found (path, part, place, size, mtime_ns, reason, kind, container, member, ctime_ns, unlisted)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
           WHERE part IN (SELECT coalesce(part, place) FROM found)
             AND part NOT IN (SELECT coalesce(part, place) FROM found WHERE unlisted))))
       OR found.size != file.size OR found.mtime_ns != file.mtime_ns OR found.altered OR found.reason IS NOT NULL
       OR file.status = 0 OR (:retry AND file.status = 2 AND found.path IS NOT NULL);
DELETE FROM slice WHERE file IN (SELECT id FROM gone);
DELETE FROM mask WHERE file IN (SELECT id FROM gone);
DELETE FROM picture WHERE file IN (SELECT id FROM gone);
DELETE FROM file WHERE id IN (SELECT id FROM gone);
DELETE FROM series WHERE id NOT IN (SELECT series FROM file WHERE series IS NOT NULL);
INSERT INTO file (path, size, mtime_ns, status, reason, part)
    SELECT path, size, mtime_ns, CASE WHEN reason IS NULL THEN 0 ELSE 2 END, reason,
        (SELECT min(written) FROM named WHERE named.part = found.part) FROM found
    WHERE path NOT IN (SELECT path FROM file) ORDER BY path;
DROP TABLE gone;
"""
ROWS = """
SELECT file.path, coalesce(slice.idx, 0), coalesce(slice.status, file.status), coalesce(slice.reason, file.reason),
       slice.label, slice.p0, slice.p1, slice.p2, file.window, file.sha256, series.study, series.name,
       slice.position, series.id, file.id
FROM file LEFT JOIN slice ON slice.file = file.id LEFT JOIN series ON series.id = file.series
WHERE file.status != 0 ORDER BY {order}
"""
PENDING_FILES = "SELECT id, path, place, kind, container, member, found.mtime_ns FROM file JOIN found USING (path)"
BY_PATH = "file.path, slice.idx"
BY_SERIES = "series.study, series.name, slice.position IS NULL, slice.position, file.path, slice.idx"

FAILED_FOUND = "SELECT path FROM file JOIN found USING (path) WHERE file.status = 2"
BESIDE = """
CREATE TABLE IF NOT EXISTS beside (file INTEGER PRIMARY KEY, digest TEXT NOT NULL);
CREATE TEMP TABLE place (path TEXT PRIMARY KEY, series TEXT NOT NULL, position REAL NOT NULL) WITHOUT ROWID;
CREATE TEMP TABLE turn (number INTEGER PRIMARY KEY, file INTEGER NOT NULL UNIQUE, near TEXT NOT NULL,
    digest TEXT NOT NULL);
CREATE TEMP TABLE again (file INTEGER PRIMARY KEY);
"""
KNOWN_PLACES = """
INSERT INTO place SELECT file.path, series.name, min(slice.position)
    FROM file JOIN found USING (path) JOIN slice ON slice.file = file.id JOIN series ON series.id = file.series
    WHERE file.status = 1 AND found.kind = ? AND found.reason IS NULL
      AND found.size = file.size AND found.mtime_ns = file.mtime_ns AND NOT found.altered
    GROUP BY file.id HAVING count(*) = 1 AND min(slice.position) IS NOT NULL
"""
UNKNOWN_PLACES = """
SELECT path, found.place, kind, container, member, found.mtime_ns FROM found LEFT JOIN file USING (path)
WHERE kind = ? AND found.reason IS NULL AND path > ?
  AND (file.status IS NOT 1 OR found.size != file.size OR found.mtime_ns != file.mtime_ns OR found.altered)
ORDER BY path LIMIT ?
"""
PLACES = """
SELECT file.id, at.series, at.position, file.path, file.size, file.mtime_ns FROM temp.place AS at JOIN file USING (path)
ORDER BY at.series, at.position, file.path
"""
TURN_OF_OTHERS = """
INSERT INTO turn (file, near, digest) SELECT file.id, '', '' FROM file JOIN found USING (path)
    WHERE path NOT IN (SELECT path FROM temp.place) ORDER BY path
"""
SETTLE = """
INSERT OR IGNORE INTO again SELECT turn.file FROM turn LEFT JOIN beside USING (file)
    WHERE beside.digest IS NOT turn.digest;
DELETE FROM again WHERE file NOT IN (SELECT id FROM file WHERE status = 1);
DELETE FROM slice WHERE file IN (SELECT file FROM again);
DELETE FROM mask WHERE file IN (SELECT file FROM again);
DELETE FROM picture WHERE file IN (SELECT file FROM again);
UPDATE file SET status = 0, reason = NULL, sha256 = NULL, window = NULL, series = NULL, library = NULL,
    digest = NULL
    WHERE id IN (SELECT file FROM again);
DELETE FROM series WHERE id NOT IN (SELECT series FROM file WHERE series IS NOT NULL);
INSERT OR REPLACE INTO beside SELECT file, digest FROM turn;
DELETE FROM beside WHERE file NOT IN (SELECT id FROM file);
"""
PENDING_TURNS = """
SELECT file.id, file.path, found.place, found.kind, found.container, found.member, found.mtime_ns,
       turn.near, turn.number
FROM turn JOIN file ON file.id = turn.file JOIN found USING (path)
WHERE file.status = 0 AND turn.number > ? ORDER BY turn.number LIMIT ?
"""

DOUBTFUL = """
SELECT found.path, found.place, found.container, found.member, file.sha256
FROM found JOIN file USING (path) JOIN ctime ON ctime.file = file.id
WHERE file.status != 0 AND found.reason IS NULL
  AND found.size = file.size AND found.mtime_ns = file.mtime_ns AND found.ctime_ns != ctime.ctime_ns
ORDER BY found.place
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

FAILED_PLACES = """
SELECT file.path, coalesce(found.place, file.path) FROM file LEFT JOIN found USING (path)
WHERE file.status = 2 OR file.id IN (SELECT file FROM slice WHERE status = 2)
"""
ACKNOWLEDGED = """
SELECT (SELECT count(*) FROM file WHERE status = 2 AND acknowledged(path))
     + (SELECT count(*) FROM slice JOIN file ON file.id = slice.file WHERE slice.status = 2 AND acknowledged(path))
"""
