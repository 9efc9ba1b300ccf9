// Package salvage finds mail on damaged disks and says whose it is.
//
// It reads volumes (package volume, package raid) as they are, notes in one sweep
// everything that has the shape of a part of a file system (packages ext4, xfs,
// tree) or of the beginning of a message (package carve), puts files together
// from that, pieces together what no file system explains (package piece), and
// compares every message with what is owed. The result is a list of findings
// (package found). Nothing is ever written to a source.
package salvage
