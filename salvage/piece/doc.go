// Package piece proves and puts together messages of which an index knows size
// and SHA-1, where no file system says any more which blocks are theirs. Package
// salvage calls it, after everything that a file system still explains is known.
//
// The index is the map: a guess costs one hash, and a hash that fits is a proof.
// Nothing leaves this package as a Match whose wire form has not the size and the
// SHA-1 of a Want, whatever was guessed on the way to it. Bad guesses cost time,
// and time is bounded (Limits) for each message; what all of them cost is told by
// Stats, so that the caller can stop.
//
//   - Owed.Run: a message that lies in one piece, from its head on. It is hashed
//     once for all wanted messages, and every end that makes sense is compared.
//   - Owed.Extents: a file whose blocks are known and whose size is not.
//   - Puzzle.Piece: a message in pieces. Survey reads the unexplained blocks once
//     and notes where text runs on from block to block (a strand) and how it
//     begins and ends. A line that a block leaves unfinished must be finished by
//     the next one: of base64 lines 1 in 78 fits by chance. The last piece is told
//     by where its text stops and by the closing boundary of the message's MIME
//     structure, the pieces between by fitting joints and by lengths that must add
//     up to the byte. Two pieces may lie anywhere and in any order, so may more.
//     Two pieces, and three where joints show, are searched completely; beyond that
//     the likely ways come first, and each joint costs two or three bits of work: ten
//     pieces are within reach, dozens only where most of them lie close together.
//
// Both stored forms serve: CRLF (Cyrus) is the wire form, LF (Maildir) is not, and
// hashes and sizes are of the wire form.
//
// What it does not do: it knows no file system and no mail store, finds no heads
// (package carve), and keeps no record of which blocks are explained: that is the
// caller's Ground. It never takes a message without SHA-1 for proved: Run tells
// size and hash at the end of the text, so that the caller can compare those with
// what a file's name promises.
//
// Hashes of single blocks, from an older copy of a message or of its attachments,
// would be one more way to place blocks: an interface that gives the file and the
// place in it for a block's hash, asked by Survey for each block; what it knows of
// a message becomes Task.Known, and Piece fills the rest.
package piece
