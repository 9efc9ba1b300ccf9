// Package raid makes one volume of the members of an array. It knows Linux md's
// levels 0, 1, 4, 5, 6, 10 and linear with all their layouts, and the RAID 6
// layouts of DDF controllers.
//
// [Find] sorts a heap of disks into arrays and the rest, [Open] puts one array
// together: from what its members' superblocks say, from what the caller says, or,
// where nobody says anything, from parity and content (Options tells which of it
// wins). Open never starts anything and never writes: md is not needed.
//
// A member is not in or out of an array as a whole. What is asked for is solved
// stretch by stretch, from whatever can be read at that place: three members of a
// RAID 5 with bad sectors in different places lose nothing, though md would refuse
// to run with two. A byte that cannot be derived is unknown, never a guess.
//
// A stale member, one that the others went on without, holds an older state of the
// array. Its bytes are used only where nothing else is left, and are told apart as
// doubtful: see [Array.ReadDoubtful] and Options.UseStale.
//
// Reading does not compare what could be compared; [Array.Check] does, and names
// the member that lies where the mathematics says which one it is.
//
// The placement of data and parity is that of the kernel's raid5.c, raid10.c and
// raid0.c; the superblocks are those of md_p.h and of md(4).
package raid
