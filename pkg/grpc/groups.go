package grpc

import (
	"slices"
	"strings"
)

// group are methods of the API that the Configuration allows or denies together.
type group struct {
	// key is what rules name: "<name>.<version>".
	key string
	// missing is what users call an API that has no block yet, "" for one that is served.
	missing string
	methods []string
}

// groups are all methods of the Dapr service (reference: grpc-api 1.2).
func groups() []group {
	words := strings.Fields
	table := []group{
		{key: "invoke.v1", methods: words("InvokeService")},
		{key: "state.v1", methods: words("GetState GetBulkState SaveState DeleteState DeleteBulkState ExecuteStateTransaction")},
		{key: "state.v1alpha1", methods: words("QueryStateAlpha1")},
		{key: "secrets.v1", methods: words("GetSecret GetBulkSecret")},
		{key: "metadata.v1", methods: words("GetMetadata SetMetadata")},
		{key: "shutdown.v1", methods: words("Shutdown")},

		{key: "actors.v1", methods: words(`InvokeActor GetActorState ExecuteActorStateTransaction
			RegisterActorTimer UnregisterActorTimer RegisterActorReminder UnregisterActorReminder
			UnregisterActorRemindersByType ListActorReminders GetActorReminder RenameActorReminder`)},
		{key: "actors.v1alpha1", methods: words("SubscribeActorEventsAlpha1")},
		{key: "workflows.v1alpha1", missing: "workflow", methods: words(`StartWorkflowAlpha1 GetWorkflowAlpha1
			PurgeWorkflowAlpha1 TerminateWorkflowAlpha1 PauseWorkflowAlpha1 ResumeWorkflowAlpha1 RaiseEventWorkflowAlpha1`)},
		{key: "workflows.v1beta1", missing: "workflow", methods: words(`StartWorkflowBeta1 GetWorkflowBeta1
			PurgeWorkflowBeta1 TerminateWorkflowBeta1 PauseWorkflowBeta1 ResumeWorkflowBeta1 RaiseEventWorkflowBeta1`)},
		{key: "jobs.v1", missing: "jobs", methods: words("ScheduleJob GetJob DeleteJob DeleteJobsByPrefix ListJobs")},
		{key: "jobs.v1alpha1", missing: "jobs",
			methods: words("ScheduleJobAlpha1 GetJobAlpha1 DeleteJobAlpha1 DeleteJobsByPrefixAlpha1 ListJobsAlpha1")},
		{key: "conversation.v1alpha1", missing: "conversation", methods: words("ConverseAlpha1")},
		{key: "conversation.v1alpha2", missing: "conversation", methods: words("ConverseAlpha2")},
	}
	return slices.Concat(table, pubsubGroups(), bindingsGroups(), configurationGroups(), lockGroups(), cryptoGroups())
}

// daprService begins the full name of every method of the API.
const daprService = "/dapr.proto.runtime.v1.Dapr/"

// fullName is how gRPC names a method of the API.
func fullName(method string) string { return daprService + method }

// unserved maps the methods that have no block yet to what users call their API.
func unserved(table []group) map[string]string {
	missing := make(map[string]string)
	for _, g := range table {
		if g.missing == "" {
			continue
		}
		for _, method := range g.methods {
			missing[fullName(method)] = g.missing
		}
	}
	return missing
}
