// Package filestore keeps uploads as files in a directory of a local disk.
//
// Each upload is two files: its bytes at their final offsets, and a small
// record of what of them is durable. Those of at most 64 KiB, with a length that
// is known from the start, have no files but live in a journal that all of them
// share, so that thousands of them a second can be made durable; they get files
// when somebody needs them. FORMAT.md has the layout and says what happens to it
// when the power goes. The directory belongs to one process at a time; it may be
// moved or copied while none uses it.
//
// The space of an upload whose length is known is set aside when it is opened,
// on Linux. On other systems, and on Linux file systems that have no fallocate,
// only the file's size is set, and a full disk shows when bytes are written.
//
// On Windows there is no journal, and directories cannot be synced: that a name survives a loss of power
// is up to NTFS there. A file that somebody has open cannot be removed; the
// next scan for expired uploads tries again.
package filestore
