// Package folder knows the names of mail folders: how they are written on disk
// (modified UTF-7, raw UTF-8), which of them hold junk or trash, and which an
// operator has excluded.
//
// Names are those of package mailstore: UTF-8, levels separated by "/", and
// always valid. What a disk name holds beyond that is escaped as \xHH, byte by
// byte, so that no two disk names share a name and every name leads back to
// its disk name. The package reads and writes nothing; the adapters (maildir,
// mbox, eml) and internal/backup call it.
package folder
