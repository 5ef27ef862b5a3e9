package http

// configurationRoutes are the routes of configuration.
func (s *Server) configurationRoutes() []route {
	var table missing
	add := table.add
	add("configuration", "GET", v1+" "+alpha1, "configuration/{name}", "configuration", "GetConfiguration")
	add("configuration", "GET", v1+" "+alpha1, "configuration/{name}/subscribe", "configuration", "SubscribeConfiguration")
	add("configuration", "GET", v1+" "+alpha1, "configuration/{name}/{key}/unsubscribe", "configuration", "UnsubscribeConfiguration")
	return table
}
