package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
)

// feature is a flag whose feature this daprd does not have yet.
type feature struct {
	flag string
	// standard is the flag's default in Dapr 1.18; its type says how a value is read.
	standard any
	// about is the feature's name for the user.
	about string
}

func features() []feature {
	const (
		actors = "actors"
		jobs   = "jobs"
	)
	return []feature{
		{"reminders-service", "", actors},
		{"scheduler-host-address", []string(nil), jobs},
		{"scheduler-job-streams", uint(3), jobs},
		{"sentry-request-jwt-audiences", []string(nil), "tokens from sentry"},
	}
}

// laterFlags read the values by Dapr's rules and keep none.
func laterFlags() *pflag.FlagSet {
	s := pflag.NewFlagSet("later", pflag.ContinueOnError)
	for _, f := range features() {
		switch standard := f.standard.(type) {
		case string:
			s.String(f.flag, standard, f.about)
		case bool:
			s.Bool(f.flag, standard, f.about)
		case int:
			s.Int(f.flag, standard, f.about)
		case uint:
			s.Uint(f.flag, standard, f.about)
		case time.Duration:
			s.Duration(f.flag, standard, f.about)
		case []string:
			s.StringSlice(f.flag, standard, f.about)
		}
	}
	return s
}

// variables of the environment whose feature this daprd does not have yet, and that feature.
func variables() [][2]string {
	return [][2]string{
		{"DAPR_SCHEDULER_HOST_ADDRESS_DNS_A", "jobs"},
	}
}

// notInUse tells of the flags and variables that were set to something of their own and have no effect yet.
func (f *flags) notInUse(getenv func(string) string) (told []string) {
	for _, later := range features() {
		if flag := f.set.Lookup(later.flag); flag.Changed && flag.Value.String() != flag.DefValue {
			told = append(told, fmt.Sprintf("flag --%s (%s)", later.flag, later.about))
		}
	}
	for _, v := range variables() {
		if getenv(v[0]) != "" {
			told = append(told, fmt.Sprintf("environment variable %s (%s)", v[0], v[1]))
		}
	}
	return told
}
