package http

// pubsubRoutes are the routes of publish and subscribe.
func (s *Server) pubsubRoutes() []route {
	var table missing
	add := table.add
	add("publish", "POST PUT", v1, "publish/{name}/{topic:*}", "publish", "PublishEvent")
	add("bulk publish", "POST PUT", v1+" "+alpha1, "publish/bulk/{name}/{topic:*}", "publish", "BulkPublishEvent")
	return table
}
