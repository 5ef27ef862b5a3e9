package http

// lockRoutes are the routes of locks.
func (s *Server) lockRoutes() []route {
	var table missing
	add := table.add
	add("lock", "POST", alpha1, "lock/{name}", "lock", "TryLock")
	add("lock", "POST", alpha1, "unlock/{name}", "unlock", "Unlock")
	return table
}
