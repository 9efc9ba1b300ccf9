// Package chunk cuts mail where mail repeats, and puts it together again.
//
// A message becomes a recipe (a small chunk of its own, see ParseRecipe) and
// the parts that the recipe names: leaf bodies of its MIME structure, base64
// decoded where encoding provably gives the same bytes back. The same
// attachment is the same part whoever sent it in whatever message, and long
// parts are cut again by content (Cutter.Split), so that a part that changed
// a little shares most of its chunks.
//
// Three forms of a message occur here. The stored bytes are what a source
// holds. The wire form has every bare LF turned into CRLF; its SHA-256 is the
// message's identity, so that the copy in a Maildir and the one that IMAP
// shows are one content. The LF form is the wire form with every CRLF turned
// into LF; cutting works on it. LineEnds leads from the LF form back to the
// stored bytes.
//
// The package is pure: bytes in, bytes out, no files, no network, no clock, no
// logging. It does not compress, encrypt or store anything, does not know
// which chunks are already held, and does not decode mail for people (no
// charsets, no quoted-printable). The backup engine calls Cutter, the restore
// engine calls RebuildMessage.
//
// Invariants:
//   - Cut accepts any bytes. What it does not understand is stored as it is,
//     and a recipe is returned only after the LF form rebuilt from it was
//     compared byte by byte with the original.
//   - Cut, Split and recipes depend on nothing but the bytes and the Params:
//     LF and CRLF copies of one message have the same ID, Recipe and Parts.
//   - ParseRecipe, DecodePartList, Rebuild and Restore take hostile input:
//     they give an error and never panic, and never use memory that is out
//     of proportion to what they were given.
//
// The bytes of recipes and part lists, and the text of LineEnds and Params,
// are specified in docs/format.md, sections "LF form" to "Part list".
package chunk
