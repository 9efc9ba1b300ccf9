package catalog

import (
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// applicationID marks the file as a salvor catalog ("salv" in ASCII).
const applicationID = 0x73616c76

// migrations bring a catalog from schema version i to i+1. A released one is
// never changed; a new version is a new entry.
var migrations = []string{schema1, schema2, schema3, schema4, schema5, schema6}

// schema6 has what was found on disks for an incident. content is the row of the
// content, content_id its hash.
const schema6 = `
CREATE TABLE finding (
	incident INTEGER NOT NULL, id TEXT NOT NULL, salvage TEXT NOT NULL, class TEXT NOT NULL, grade TEXT NOT NULL, why TEXT NOT NULL,
	user TEXT NOT NULL, user_by TEXT NOT NULL, folder TEXT NOT NULL, uid INTEGER NOT NULL, claim INTEGER NOT NULL,
	content INTEGER NOT NULL, content_id BLOB NOT NULL, stored BLOB NOT NULL, stored_size INTEGER NOT NULL, line_ends TEXT NOT NULL,
	name TEXT NOT NULL, date INTEGER, message_id TEXT NOT NULL, sender TEXT NOT NULL, subject TEXT NOT NULL,
	source TEXT NOT NULL, how TEXT NOT NULL, path TEXT NOT NULL, inode INTEGER NOT NULL, offset INTEGER NOT NULL,
	extents BLOB NOT NULL, missing BLOB NOT NULL, places INTEGER NOT NULL,
	PRIMARY KEY (incident, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX finding_content ON finding (content);
`

// schema5 has what acting on a ledger needs: where messages stand now, what is on
// its way, who may come in again, and drills. claim_users counts by state; the
// other indexes find claims by what a message found again can tell.
const schema5 = `
ALTER TABLE claim ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE claim ADD COLUMN envelope TEXT NOT NULL DEFAULT '';
ALTER TABLE claim ADD COLUMN settled_at INTEGER;
ALTER TABLE claim ADD COLUMN now_store TEXT NOT NULL DEFAULT '';
ALTER TABLE claim ADD COLUMN now_folder TEXT NOT NULL DEFAULT '';
ALTER TABLE claim ADD COLUMN now_validity INTEGER NOT NULL DEFAULT 0;
ALTER TABLE claim ADD COLUMN now_uid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE claim ADD COLUMN grade TEXT NOT NULL DEFAULT '';
ALTER TABLE claim ADD COLUMN taken_at INTEGER;
ALTER TABLE claim ADD COLUMN sent_at INTEGER;
ALTER TABLE claim ADD COLUMN sent_store TEXT NOT NULL DEFAULT '';
ALTER TABLE claim ADD COLUMN sent_folder TEXT NOT NULL DEFAULT '';
ALTER TABLE claim ADD COLUMN sent_validity INTEGER NOT NULL DEFAULT 0;
ALTER TABLE claim ADD COLUMN sent_next INTEGER NOT NULL DEFAULT 0;
ALTER TABLE claim ADD COLUMN sent_order INTEGER NOT NULL DEFAULT 0;
ALTER TABLE claim ADD COLUMN sent_sum BLOB;
ALTER TABLE claim ADD COLUMN doubt INTEGER NOT NULL DEFAULT 0;
CREATE INDEX claim_users ON claim (incident, user, state);
CREATE INDEX claim_sha1 ON claim (incident, sha1) WHERE sha1 IS NOT NULL;
CREATE INDEX claim_message ON claim (incident, message_id) WHERE message_id <> '';
CREATE INDEX claim_name ON claim (incident, name) WHERE name <> '';
CREATE INDEX claim_size ON claim (incident, size) WHERE state = 'owed';
CREATE INDEX claim_sent ON claim (incident) WHERE sent_at IS NOT NULL;
CREATE TABLE gate (
	incident INTEGER NOT NULL, user TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
	store TEXT NOT NULL, dangling INTEGER NOT NULL, checked_at INTEGER, told TEXT NOT NULL,
	PRIMARY KEY (incident, user)
) STRICT, WITHOUT ROWID;
CREATE TABLE drill (
	at INTEGER PRIMARY KEY, seconds REAL NOT NULL, users INTEGER NOT NULL, messages INTEGER NOT NULL, bytes INTEGER NOT NULL,
	failed INTEGER NOT NULL, data_at INTEGER, store TEXT NOT NULL, problems BLOB NOT NULL
) STRICT;
`

// schema4 has the ledgers of incidents. A claim lies with its incident; origin is
// Incident.Index, which is a word of SQL. claim_content finds what claims hold
// on to without a record of their own.
const schema4 = `
CREATE TABLE incident (
	id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, source TEXT NOT NULL, origin TEXT NOT NULL, at INTEGER,
	opened_at INTEGER, opened_by TEXT NOT NULL, closed_at INTEGER, closed_by TEXT NOT NULL,
	head INTEGER NOT NULL, head_hash BLOB, run INTEGER NOT NULL,
	kept TEXT NOT NULL, kept_sum BLOB, claims INTEGER NOT NULL, problems BLOB NOT NULL
) STRICT;
CREATE TABLE claim (
	incident INTEGER NOT NULL, id INTEGER NOT NULL, user TEXT NOT NULL, folder TEXT NOT NULL,
	uid_validity INTEGER NOT NULL, uid INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
	content BLOB, sha1 BLOB, size INTEGER NOT NULL, flags BLOB NOT NULL, internal_date INTEGER,
	message_id TEXT NOT NULL, record INTEGER NOT NULL,
	PRIMARY KEY (incident, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX claim_user ON claim (incident, user);
CREATE INDEX claim_state ON claim (incident, state);
CREATE INDEX claim_content ON claim (content) WHERE content IS NOT NULL AND record = 0;
`

// schema3 has places for what servers with indexes of their own tell, and finds
// messages by the identities that they have there.
const schema3 = `
ALTER TABLE mailbox ADD COLUMN highest_mod_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN acl TEXT NOT NULL DEFAULT '';
ALTER TABLE mailbox ADD COLUMN quota TEXT NOT NULL DEFAULT '';
ALTER TABLE record ADD COLUMN object_id TEXT NOT NULL DEFAULT '';
ALTER TABLE record ADD COLUMN expunged INTEGER;
CREATE INDEX record_object ON record (object_id) WHERE object_id <> '';
CREATE INDEX content_sha1 ON content (sha1);
`

// schema2 has a place for Lock.
const schema2 = `
CREATE TABLE lock (
	one INTEGER PRIMARY KEY CHECK (one = 1), until INTEGER, target INTEGER, began INTEGER,
	next TEXT NOT NULL, left INTEGER NOT NULL,
	waiting INTEGER NOT NULL, waiting_bytes INTEGER NOT NULL, waiting_until INTEGER
) STRICT;
`

// schema1 is the first schema. Times are nanoseconds since 1970 in UTC, NULL
// for never. Rows that belong to each other do so by integer ids; only user,
// chunk, frame and pack ids are this file's own, the others come with the rows.
//
// chunk is what deduplication asks for each piece of each message. Rows are in
// the order in which they came, and chunk_at finds them: by the first eight
// bytes of the hash as an integer, the cheapest key that SQLite has; the rest
// (tail) is compared in the row. A chunk whose place in chunk_at is taken by
// another one stands at the next free number. The lists of a message's and a part's pieces (parts,
// chunks) are ids of chunk rows as varints. content.id and part.id are those
// of their own chunk rows.
const schema1 = `
CREATE TABLE head (
	one INTEGER PRIMARY KEY CHECK (one = 1),
	vault TEXT NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE user (
	id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
	source TEXT NOT NULL, partition TEXT NOT NULL,
	first_run INTEGER NOT NULL, first_seen INTEGER,
	last_run INTEGER NOT NULL, last_good INTEGER NOT NULL, last_good_at INTEGER,
	failed INTEGER NOT NULL, gone_run INTEGER NOT NULL
) STRICT;
CREATE TABLE mailbox (
	id INTEGER PRIMARY KEY, user INTEGER NOT NULL, name TEXT NOT NULL, object_id TEXT NOT NULL,
	uid_validity INTEGER NOT NULL, uid_next INTEGER NOT NULL,
	special_use TEXT NOT NULL, subscribed INTEGER NOT NULL, state TEXT NOT NULL,
	first_run INTEGER NOT NULL, first_seen INTEGER,
	failed_run INTEGER NOT NULL, gone_run INTEGER NOT NULL, gone_at INTEGER,
	excluded TEXT NOT NULL, messages INTEGER NOT NULL
) STRICT;
CREATE INDEX mailbox_user ON mailbox (user, name);
CREATE TABLE record (
	id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, content INTEGER NOT NULL,
	gone_run INTEGER NOT NULL, gone_at INTEGER, hold INTEGER NOT NULL, moved_to INTEGER NOT NULL,
	first_run INTEGER NOT NULL, first_seen INTEGER, internal_date INTEGER, mod_seq INTEGER NOT NULL,
	stored BLOB, stored_size INTEGER NOT NULL, line_ends TEXT NOT NULL,
	flags BLOB NOT NULL, key TEXT NOT NULL, source_state TEXT NOT NULL
) STRICT;
CREATE INDEX record_mailbox ON record (mailbox, uid);
CREATE INDEX record_content ON record (content);
CREATE INDEX record_gone ON record (mailbox, gone_run) WHERE gone_run <> 0;
CREATE INDEX record_week ON record (gone_at) WHERE gone_at IS NOT NULL;

CREATE TABLE content (
	id INTEGER PRIMARY KEY, size INTEGER NOT NULL, date INTEGER, sha1 BLOB NOT NULL, parts BLOB NOT NULL,
	sender TEXT NOT NULL, recipients TEXT NOT NULL, subject TEXT NOT NULL, message_id TEXT NOT NULL
) STRICT;
CREATE TABLE part (id INTEGER PRIMARY KEY, size INTEGER NOT NULL, chunks BLOB NOT NULL) STRICT;
CREATE TABLE chunk (
	id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, head INTEGER NOT NULL, tail BLOB NOT NULL,
	frame INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL, refs INTEGER NOT NULL
) STRICT;
CREATE TABLE chunk_at (place INTEGER PRIMARY KEY, id INTEGER NOT NULL) STRICT;
CREATE TABLE frame (
	id INTEGER PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL,
	stored INTEGER NOT NULL, plain INTEGER NOT NULL, method TEXT NOT NULL,
	live INTEGER NOT NULL, chunks BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX frame_pack ON frame (pack, offset);
CREATE TABLE pack (
	id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, size INTEGER NOT NULL,
	number INTEGER NOT NULL, created_at INTEGER, condemned INTEGER NOT NULL, condemned_at INTEGER,
	dead_bytes INTEGER NOT NULL, dead_since INTEGER, damaged TEXT NOT NULL, stored INTEGER NOT NULL, live INTEGER NOT NULL
) STRICT;

CREATE TABLE run (
	number INTEGER PRIMARY KEY, kind TEXT NOT NULL, source TEXT NOT NULL,
	started INTEGER, finished INTEGER, clock TEXT NOT NULL, host TEXT NOT NULL,
	users INTEGER NOT NULL, mailboxes INTEGER NOT NULL, seen INTEGER NOT NULL, new INTEGER NOT NULL,
	gone INTEGER NOT NULL, failed INTEGER NOT NULL, bytes_read INTEGER NOT NULL,
	bytes_new INTEGER NOT NULL, bytes_stored INTEGER NOT NULL,
	held BLOB NOT NULL, problems BLOB NOT NULL, partial INTEGER NOT NULL
) STRICT;
CREATE TABLE hold (
	id INTEGER PRIMARY KEY, user TEXT NOT NULL, run INTEGER NOT NULL, reason TEXT NOT NULL,
	records INTEGER NOT NULL, verdict TEXT NOT NULL, verdict_at INTEGER, verdict_by TEXT NOT NULL
) STRICT;
CREATE TABLE tombstone (
	user TEXT NOT NULL, content BLOB NOT NULL,
	last_seen INTEGER, expired_at INTEGER, until INTEGER,
	PRIMARY KEY (user, content)
) STRICT, WITHOUT ROWID;
CREATE TABLE ack (attention TEXT PRIMARY KEY, at INTEGER, by TEXT NOT NULL) STRICT, WITHOUT ROWID;
`

// version tells the file's schema, 0 for an empty file, and refuses files of
// others. It changes nothing.
func version(db *sqlite.Conn) (int, error) {
	var app, version, tables int64
	for query, v := range map[string]*int64{
		"PRAGMA application_id":              &app,
		"PRAGMA user_version":                &version,
		"SELECT count(*) FROM sqlite_schema": &tables,
	} {
		err := sqlitex.ExecuteTransient(db, query, &sqlitex.ExecOptions{ResultFunc: func(st *sqlite.Stmt) error {
			*v = st.ColumnInt64(0)
			return nil
		}})
		if err != nil {
			return 0, err
		}
	}
	switch {
	case tables > 0 && app != applicationID:
		return 0, fmt.Errorf("%w: an SQLite file of another program", ErrDamaged)
	case version > int64(len(migrations)):
		return 0, fmt.Errorf("%w: schema %d, this one knows %d", ErrSchema, version, len(migrations))
	case version < 0 || (version == 0) != (tables == 0):
		return 0, fmt.Errorf("%w: schema version %d", ErrDamaged, version)
	}
	return int(version), nil
}

// migrate brings the file to the newest schema.
func migrate(db *sqlite.Conn) (err error) {
	now, err := version(db)
	if err != nil || now == len(migrations) {
		return err
	}
	end, err := sqlitex.ImmediateTransaction(db)
	if err != nil {
		return err
	}
	defer end(&err)
	if now, err = version(db); err != nil { // another process may have been faster
		return err
	}
	for ; now < len(migrations); now++ {
		if err := sqlitex.ExecuteScript(db, migrations[now], nil); err != nil {
			return fmt.Errorf("bring catalog to schema %d: %w", now+1, err)
		}
	}
	return sqlitex.ExecuteScript(db, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, now), nil)
}
