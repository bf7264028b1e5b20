package filestore

// Filed has every upload of s that is created from now on live in files of its
// own, however small it is.
func (s *Store) Filed() *Store {
	s.small = -1
	return s
}
