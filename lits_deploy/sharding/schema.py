"""The scratch database of a plan, in SQL (`sharding.staging` runs it)."""

from __future__ import annotations

FILE = "size, mtime_ns, ctime_ns, etag, reason, kind, container, member, unlisted"
_TYPES = (
    "size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, etag TEXT, reason TEXT, kind TEXT, container TEXT,"
    " member INTEGER, unlisted INTEGER"
)

TABLES = f"""
CREATE TABLE seen (id INTEGER PRIMARY KEY, path TEXT, {_TYPES});
CREATE TABLE found (id INTEGER PRIMARY KEY, path TEXT, {_TYPES});
CREATE TABLE old (
    id INTEGER PRIMARY KEY, path TEXT, {_TYPES}, series TEXT, rank INTEGER, slices INTEGER, shard INTEGER);
CREATE TABLE known (
    id INTEGER PRIMARY KEY, old INTEGER, shard INTEGER, series TEXT, rank INTEGER, slices INTEGER, doubtful INTEGER,
    again INTEGER DEFAULT 0);
CREATE TABLE earlier (
    path TEXT, {_TYPES}, token TEXT, study TEXT, patient TEXT, info TEXT, slices INTEGER, facts TEXT);
CREATE TABLE gone (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE dirty (shard INTEGER PRIMARY KEY);
CREATE TABLE stale (series TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE header (id INTEGER PRIMARY KEY, token TEXT, study TEXT, patient TEXT, info TEXT);
CREATE TABLE parsed (id INTEGER PRIMARY KEY, header INTEGER, slices INTEGER, facts TEXT);
CREATE TABLE unread (id INTEGER PRIMARY KEY, picture INTEGER);
CREATE TABLE ordered (first INTEGER, rank INTEGER, id INTEGER, series TEXT, slices INTEGER)
"""
_SAME = " AND ".join(f"found.{name} IS old.{name}" for name in FILE.split(", ") if name != "ctime_ns")
KNOWN = f"""
INSERT OR IGNORE INTO known (id, old, shard, series, rank, slices, doubtful)
SELECT found.id, old.id, old.shard, old.series, old.rank, old.slices, found.ctime_ns != old.ctime_ns
FROM found CROSS JOIN old ON old.path = found.path WHERE {_SAME}
"""
GONE = """
INSERT OR IGNORE INTO gone SELECT path FROM old
WHERE id NOT IN (SELECT old.id FROM found CROSS JOIN old ON old.path = found.path)
"""
SHARDS_WITH_LOSSES = """
INSERT INTO dirty SELECT shard FROM (SELECT shard, count(*) AS files FROM old GROUP BY shard) AS planned
WHERE files != (SELECT count(*) FROM known WHERE known.shard = planned.shard)
"""
SERIES_WITH_LOSSES = """
INSERT OR IGNORE INTO stale SELECT series FROM old
WHERE shard IN (SELECT shard FROM dirty) AND series IS NOT NULL AND id NOT IN (SELECT old FROM known)
"""
# What is settled by looking again: a header that could not be read, or may be another one; the series of a picture that
# may be a copy.
_LOOKED_AT_AGAIN = "known.again OR known.series IS NULL OR (found.kind = 'picture' AND instr(found.path, ')'))"
UNREAD = f"""
INSERT INTO unread SELECT found.id, found.kind = 'picture' FROM found LEFT JOIN known ON known.id = found.id
WHERE found.reason IS NULL AND NOT EXISTS (SELECT 1 FROM parsed WHERE parsed.id = found.id) AND (known.id IS NULL
    OR {_LOOKED_AT_AGAIN}
    OR (known.shard IN (SELECT shard FROM dirty) AND known.series IN (SELECT series FROM stale)))
"""
PAGE_OF_UNREAD = """
SELECT found.id, path, path, kind, container, member, mtime_ns FROM unread JOIN found USING (id)
WHERE unread.picture = ? AND unread.id > ? ORDER BY unread.id LIMIT ?
"""
_NOT_KEPT = """NOT EXISTS
    (SELECT 1 FROM known WHERE known.id = {0}.id AND known.shard NOT IN (SELECT shard FROM dirty))"""
SETTLE = (
    # The series of a file is another one.
    "INSERT OR IGNORE INTO dirty SELECT known.shard FROM parsed JOIN known USING (id)"
    " LEFT JOIN header ON header.id = parsed.header WHERE header.token IS NOT known.series",
    # A series has a file that the shard has not.
    "INSERT OR IGNORE INTO stale SELECT token FROM parsed JOIN header ON header.id = parsed.header"
    " LEFT JOIN known ON known.id = parsed.id"
    " WHERE known.id IS NULL OR known.shard IN (SELECT shard FROM dirty)",
    "INSERT OR IGNORE INTO stale SELECT known.series FROM parsed JOIN known USING (id) LEFT JOIN header"
    " ON header.id = parsed.header WHERE header.token IS NOT known.series AND known.series IS NOT NULL",
    "INSERT OR IGNORE INTO dirty SELECT shard FROM known WHERE series IN (SELECT series FROM stale)",
)
PARSED = f"""
SELECT token, study, patient, info, parsed.id, path, 0, facts, NULL, NULL, slices
FROM parsed JOIN header ON header.id = parsed.header JOIN found ON found.id = parsed.id
WHERE {_NOT_KEPT.format("parsed")} ORDER BY token, parsed.id
"""
ALONE = f"""
INSERT INTO ordered SELECT id, 0, id, NULL, slices FROM parsed WHERE header IS NULL AND {_NOT_KEPT.format("parsed")}
UNION ALL SELECT id, 0, id, NULL, 0 FROM found WHERE reason IS NOT NULL AND {_NOT_KEPT.format("found")}
"""
CARRIED = """
INSERT INTO ordered SELECT min(id) OVER (PARTITION BY series), rank, id, series, slices FROM known
WHERE series IS NOT NULL AND shard IN (SELECT shard FROM dirty) AND id NOT IN (SELECT id FROM parsed)
"""
ORDERED = f"""
SELECT first, 0, series, rank, path, {FILE}, slices FROM ordered JOIN found USING (id) ORDER BY first, rank, id
"""
OF_SHARD = f"""
SELECT shard, series, rank, path, {FILE}, slices FROM known JOIN found USING (id) WHERE shard = ? ORDER BY known.old
"""

SEE = f"INSERT INTO seen (path, {FILE}) VALUES (?{', ?' * 9})"
REMEMBER = f"INSERT INTO old VALUES (NULL{', ?' * 14})"
# Of the columns beside min(), SQLite gives those of the row that has it.
SORT = f"""
INSERT INTO found (path, {FILE})
SELECT path, {FILE} FROM (SELECT min(id), path, {FILE} FROM seen GROUP BY path) ORDER BY path
"""
DOUBTFUL = "SELECT DISTINCT shard FROM known WHERE doubtful AND shard NOT IN (SELECT shard FROM dirty) ORDER BY shard"
SCANS_GONE = """
SELECT count(*), count(gone.path) FROM old LEFT JOIN gone ON gone.path = old.path WHERE old.size >= 0
"""

_READ = "size, mtime_ns, ctime_ns, etag, kind, container, member"
_SAID = f"path, {_READ}, token, study, patient, info, slices, facts"
RECALL = f"INSERT INTO earlier ({_SAID}) VALUES (?{', ?' * 13})"
_AS_READ = " AND ".join(f"earlier.{name} IS found.{name}" for name in _READ.split(", "))
RECALLED = f"""
SELECT found.id, token, study, patient, info, slices, facts FROM unread JOIN found USING (id)
CROSS JOIN earlier ON earlier.path = found.path WHERE {_AS_READ} AND NOT unread.picture
"""
SAID = f"SELECT {_SAID} FROM parsed JOIN found USING (id) LEFT JOIN header h ON h.id = parsed.header WHERE found.id = ?"
