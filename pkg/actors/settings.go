package actors

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/daprd/daprd/pkg/channel"
)

// The defaults of Dapr 1.18.
const (
	defaultIdle  = time.Hour
	defaultDrain = 2 * time.Second
	defaultDepth = 32
	// maxDrain keeps a round shorter than the 8 s after which placement gives up on a sidecar that does not answer: the
	// application has to be told of what leaves, too. Dapr takes 80 % of its own limit of 30 s.
	maxDrain = 5 * time.Second
)

// settings are those of one type.
type settings struct {
	// idle is how long an actor stays active without a turn.
	idle time.Duration
	// drain is how long a turn goes on when its actor moves.
	drain time.Duration
	// reentrant says that a chain of calls may come back into its actor, at most depth times in all.
	reentrant bool
	depth     int
}

// settingsOf gives the settings of every type of a configuration, and warnings.
func settingsOf(c *channel.AppConfiguration) (map[string]settings, []string) {
	all, warnings := make(map[string]settings, len(c.Entities)), slices.Clone(c.Warnings)
	read := func(name string, from channel.ActorSettings) {
		s := newSettings(from)
		if s.drain > maxDrain {
			warnings = append(warnings, fmt.Sprintf("drainOngoingCallTimeout of the actor type %s is %s: a round of placement does not wait that long, "+
				"%s is used", name, s.drain, maxDrain))
			s.drain = maxDrain
		}
		all[name] = s
	}
	for _, name := range c.Entities {
		read(name, c.ActorSettings)
	}
	for _, e := range c.PerEntity {
		for _, name := range e.Entities {
			if _, hosted := all[name]; hosted {
				read(name, e.ActorSettings)
			}
		}
	}
	return all, warnings
}

func newSettings(from channel.ActorSettings) settings {
	s := settings{idle: defaultIdle, drain: defaultDrain, reentrant: from.Reentrant, depth: defaultDepth}
	if from.IdleTimeout != nil && *from.IdleTimeout > 0 {
		s.idle = *from.IdleTimeout
	}
	if from.DrainTimeout != nil {
		s.drain = max(*from.DrainTimeout, 0)
	}
	if from.DrainRebalanced != nil && !*from.DrainRebalanced {
		s.drain = 0
	}
	if from.MaxStackDepth != nil {
		s.depth = cmp.Or(max(*from.MaxStackDepth, 0), defaultDepth)
	}
	return s
}
