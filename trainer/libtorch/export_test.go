package libtorch

// UpdateEvery is Update with another growth interval.
func (g *GradScaler) UpdateEvery(s *Scope, interval int64) { g.update(s, interval) }
