package resume

// FreeSpace is what a [Store] may be besides, if it knows how full it is.
type FreeSpace interface {
	// Free returns how many bytes may still be put where uploads are kept; known
	// is false where that cannot be asked now.
	Free() (bytes int64, known bool)
}
