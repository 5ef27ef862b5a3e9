package http

import "slices"

// route is one row of the URL table.
type route struct {
	// methods are the verbs, "*" for any.
	methods []string
	// versions stand before the path, each as a route of its own.
	versions []string
	// path is the template behind the version. {name} takes one segment, {name:*} the rest.
	path string
	// group is what allow and deny rules name, together with the version of the route.
	group string
	// name is the endpoint in the API log when URLs are obfuscated.
	name   string
	handle func(*call)
	// public routes are on the public port, too; health routes ask for no token and cannot be denied.
	public, health bool
	// segments is how much of the path is a label in metrics: so many segments, 0 for all of it.
	segments int

	// template is version and path, made by the router.
	template string
}

const (
	v1     = "v1.0"
	alpha1 = "v1.0-alpha1"
	alpha2 = "v1.0-alpha2"
	beta1  = "v1.0-beta1"
)

// table is the whole API. What has no block yet is there, too: it answers that it is not implemented.
func (s *Server) table() []route {
	get, post, put, del := []string{"GET"}, []string{"POST"}, []string{"PUT"}, []string{"DELETE"}
	write := []string{"POST", "PUT"}
	stable, alpha := []string{v1}, []string{alpha1}
	table := []route{
		{methods: get, versions: stable, path: "state/{name}/{key}", group: "state", name: "GetState", handle: s.getState, segments: 3},
		{methods: write, versions: stable, path: "state/{name}", group: "state", name: "SaveState", handle: s.saveState, segments: 3},
		{methods: del, versions: stable, path: "state/{name}/{key}", group: "state", name: "DeleteState", handle: s.deleteState, segments: 3},
		{methods: write, versions: stable, path: "state/{name}/bulk", group: "state", name: "GetBulkState", handle: s.bulkGetState, segments: 3},
		{methods: write, versions: stable, path: "state/{name}/transaction", group: "state", name: "ExecuteStateTransaction", handle: s.transactState, segments: 3},
		{methods: write, versions: alpha, path: "state/{name}/query", group: "state", name: "QueryState", handle: s.queryState, segments: 3},

		{methods: get, versions: stable, path: "secrets/{name}/bulk", group: "secrets", name: "GetBulkSecret", handle: s.bulkGetSecret, segments: 3},
		{methods: get, versions: stable, path: "secrets/{name}/{key}", group: "secrets", name: "GetSecret", handle: s.getSecret, segments: 3},

		{methods: []string{"*"}, versions: stable, path: "invoke/{target:*}", group: "invoke", name: "InvokeService", handle: s.invoke},

		{methods: get, versions: stable, path: "metadata", group: "metadata", name: "GetMetadata", handle: s.getMetadata, public: true},
		{methods: put, versions: stable, path: "metadata/{key}", group: "metadata", name: "SetMetadata", handle: s.setMetadata, public: true, segments: 2},
		{methods: get, versions: stable, path: "healthz", group: "healthz", name: "Healthz", handle: s.getHealth, public: true, health: true},
		{methods: get, versions: stable, path: "healthz/outbound", group: "healthz", name: "HealthzOutbound", handle: s.getOutboundHealth, public: true, health: true},
		{methods: post, versions: stable, path: "shutdown", group: "shutdown", name: "Shutdown", handle: s.shutdown},
	}
	return slices.Concat(table, s.pubsubRoutes(), s.bindingsRoutes(), s.configurationRoutes(), s.lockRoutes(), s.cryptoRoutes(), s.actorRoutes(), s.callbackRoutes(), unimplemented())
}

// missing are routes of APIs without a block.
type missing []route

func (m *missing) add(api, methods, versions, path, group, name string) {
	*m = append(*m, route{methods: fields(methods), versions: fields(versions), path: path, group: group,
		name: name, handle: notYet(api), segments: 2})
}

// unimplemented are the routes of the APIs that this sidecar does not have yet.
func unimplemented() []route {
	var table missing
	add := table.add
	const all = v1 + " " + beta1 + " " + alpha1
	add("workflow", "POST", all, "workflows/{name}/{key}/start", "workflows", "StartWorkflow")
	add("workflow", "GET", all, "workflows/{name}/{key}", "workflows", "GetWorkflow")
	for operation, name := range map[string]string{"pause": "PauseWorkflow", "resume": "ResumeWorkflow",
		"terminate": "TerminateWorkflow", "purge": "PurgeWorkflow"} {
		add("workflow", "POST", all, "workflows/{name}/{key}/"+operation, "workflows", name)
	}
	add("workflow", "POST", all, "workflows/{name}/{key}/raiseEvent/{event}", "workflows", "RaiseEventWorkflow")
	add("jobs", "POST", v1+" "+alpha1, "jobs/{name}", "jobs", "ScheduleJob")
	add("jobs", "GET", v1+" "+alpha1, "jobs/{name}", "jobs", "GetJob")
	add("jobs", "DELETE", v1+" "+alpha1, "jobs/{name}", "jobs", "DeleteJob")
	add("conversation", "POST", alpha1+" "+alpha2, "conversation/{name}/converse", "conversation", "Converse")
	return table
}
