"""The ledger's tables and longer statements, in SQL (`ledger.store` runs them)."""

from __future__ import annotations

SCHEMA = 3

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE series (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, study TEXT NOT NULL, info TEXT NOT NULL);
CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    status INTEGER NOT NULL, reason TEXT, sha256 TEXT, window TEXT, series INTEGER, part TEXT);
CREATE TABLE slice (
    file INTEGER NOT NULL, idx INTEGER NOT NULL, status INTEGER NOT NULL, reason TEXT,
    label INTEGER, p0 REAL, p1 REAL, p2 REAL, position REAL, PRIMARY KEY (file, idx)) WITHOUT ROWID;
CREATE TABLE mask (file INTEGER NOT NULL, idx INTEGER NOT NULL, labels BLOB NOT NULL, PRIMARY KEY (file, idx));
CREATE TABLE picture (
    file INTEGER NOT NULL, idx INTEGER NOT NULL, jpeg BLOB NOT NULL, side INTEGER NOT NULL, contours TEXT NOT NULL,
    PRIMARY KEY (file, idx));
"""
FOUND = """
CREATE TEMP TABLE found (
    path TEXT PRIMARY KEY, place TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, reason TEXT,
    kind TEXT NOT NULL, container TEXT, member INTEGER, part TEXT) WITHOUT ROWID;
CREATE TEMP TABLE scope (part TEXT PRIMARY KEY) WITHOUT ROWID;
"""
ADOPT = """
CREATE TEMP TABLE gone AS SELECT file.id FROM file LEFT JOIN found ON found.path = file.path
    WHERE (found.path IS NULL AND (NOT :scoped OR coalesce(file.part, file.path) IN (SELECT part FROM scope)))
       OR found.size != file.size OR found.mtime_ns != file.mtime_ns OR found.reason IS NOT NULL
       OR file.status = 0 OR (:retry AND file.status = 2 AND found.path IS NOT NULL);
DELETE FROM slice WHERE file IN (SELECT id FROM gone);
DELETE FROM mask WHERE file IN (SELECT id FROM gone);
DELETE FROM picture WHERE file IN (SELECT id FROM gone);
DELETE FROM file WHERE id IN (SELECT id FROM gone);
DELETE FROM series WHERE id NOT IN (SELECT series FROM file WHERE series IS NOT NULL);
INSERT INTO file (path, size, mtime_ns, status, reason, part)
    SELECT path, size, mtime_ns, CASE WHEN reason IS NULL THEN 0 ELSE 2 END, reason, part FROM found
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
