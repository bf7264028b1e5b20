package s3store

func (s *Store) scan() { <-s.work.Done() }
