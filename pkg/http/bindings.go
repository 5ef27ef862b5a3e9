package http

// bindingsRoutes are the routes of bindings.
func (s *Server) bindingsRoutes() []route {
	var table missing
	add := table.add
	add("bindings", "POST PUT", v1, "bindings/{name}", "bindings", "InvokeBinding")
	return table
}
