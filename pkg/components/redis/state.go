package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/state"
)

// defaultRetryInterval is that of Dapr's state stores, where it is cut to redisMaxRetryInterval.
const defaultRetryInterval = 2 * time.Second

// stateSettings is the metadata of state.redis.
type stateSettings struct {
	connection
	TTL          *int32 `metadata:"ttlInSeconds"`
	QueryIndexes string `metadata:"queryIndexes"`
	legacy
}

// stateStore keeps every key as a hash of data, version and, once it was written so, first-write; with the
// JSON module, and where a request asks for it, as a JSON document.
type stateStore struct {
	client   *client
	ttl      *int32
	replicas int
	// json says that the server has the JSON module.
	json    bool
	indexes indexes
}

// NewState is the factory of state.redis.
func NewState(ctx context.Context, spec *components.Spec) (state.Store, error) {
	settings := stateSettings{connection: connection{MinRetryInterval: defaultRetryInterval}}
	if err := components.Decode(spec, &settings); err != nil {
		return nil, err
	}
	settings.adopt(&settings.connection, spec)
	indexes, err := parseIndexes(settings.QueryIndexes)
	if err != nil {
		return nil, err
	}
	client, err := dial(ctx, &settings.connection, spec.Log)
	if err != nil {
		return nil, fmt.Errorf("redis store: %w", err)
	}
	store := &stateStore{client: client, ttl: settings.TTL, indexes: indexes}
	store.replicas = info(ctx, client, "replication", "connected_slaves")
	store.json = has(ctx, client, "JSON.SET")
	if !store.json && len(indexes) > 0 {
		spec.Log.Warnf("component %s (%s/%s): queryIndexes has no effect: %v", spec.Name, spec.Type, spec.Version, errNoModule)
		return store, nil
	}
	if err := store.createIndexes(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("redis store: %w", err), client.Close())
	}
	return store, nil
}

// Features are what the interfaces do not tell.
func (s *stateStore) Features() []state.Feature {
	all := []state.Feature{state.FeatureETag, state.FeatureTransactional, state.FeatureTTL}
	if s.json {
		all = append(all, state.FeatureQuery)
	}
	return all
}

// Get reads a key; one that another program wrote as a plain string is read as it is, without a tag.
func (s *stateStore) Get(ctx context.Context, req *state.GetRequest) (*state.Item, error) {
	return s.read(ctx, s.client, req)()
}

// BulkGet reads all keys in one round trip, in a cluster in one to each node.
func (s *stateStore) BulkGet(ctx context.Context, reqs []state.GetRequest) ([]state.Item, error) {
	pipe := s.client.Pipeline()
	answers := make([]answer, len(reqs))
	for i := range reqs {
		answers[i] = s.read(ctx, pipe, &reqs[i])
	}
	// A failure stands in the answers that it hits: in a cluster other nodes may have answered.
	_, _ = pipe.Exec(ctx)
	items := make([]state.Item, len(reqs))
	for i, answer := range answers {
		if item, err := answer(); err != nil {
			items[i] = state.Item{Key: reqs[i].Key, Err: err}
		} else {
			items[i] = *item
		}
	}
	return items, ctx.Err()
}

// Set writes a key in one script: the check of its tag, the value and its time to live.
func (s *stateStore) Set(ctx context.Context, req *state.SetRequest) error {
	step, err := s.write(req, s.asDocument(req.Metadata))
	if err != nil {
		return err
	}
	return s.run(ctx, &step, req.Consistency)
}

// Delete removes a key in one script.
func (s *stateStore) Delete(ctx context.Context, req *state.DeleteRequest) error {
	step, err := s.remove(req, s.asDocument(req.Metadata))
	if err != nil {
		return err
	}
	return s.run(ctx, &step, req.Consistency)
}

func (s *stateStore) run(ctx context.Context, step *step, consistency state.Consistency) error {
	if consistency == state.Strong && s.replicas > 0 {
		return s.replicate(ctx, step)
	}
	err := step.script.Run(ctx, s.client, []string{step.key}, step.arguments...).Err()
	return step.refusal(s.client.failed(err))
}

// Transact runs all operations in MULTI and EXEC. Redis does not roll back: when one operation is refused
// the others are applied all the same, and the first refusal is returned.
func (s *stateStore) Transact(ctx context.Context, ops []state.Operation, metadata map[string]string) error {
	steps, err := s.steps(ops, s.asDocument(metadata))
	if err != nil || len(steps) == 0 {
		return err
	}
	if err := s.sameSlot(steps); err != nil {
		return err
	}
	pipe := s.client.TxPipeline()
	answers := make([]*redis.Cmd, len(steps))
	for i := range steps {
		// The whole script, not its hash: a script that the server does not know any more would leave the
		// transaction half done.
		answers[i] = steps[i].script.Eval(ctx, pipe, []string{steps[i].key}, steps[i].arguments...)
	}
	_, err = pipe.Exec(ctx)
	for i, answer := range answers {
		if answer.Err() != nil {
			return steps[i].refusal(s.client.failed(answer.Err()))
		}
	}
	return s.client.failed(err)
}

func (s *stateStore) steps(ops []state.Operation, documents bool) ([]step, error) {
	steps := make([]step, len(ops))
	for i, op := range ops {
		var err error
		if op.Set != nil {
			steps[i], err = s.write(op.Set, documents || s.asDocument(op.Set.Metadata))
		} else {
			steps[i], err = s.remove(op.Delete, documents || s.asDocument(op.Delete.Metadata))
		}
		if err != nil {
			return nil, err
		}
	}
	return steps, nil
}

// Ping asks whether the server answers.
func (s *stateStore) Ping(ctx context.Context) error { return s.client.alive(ctx) }

// Close ends the connections.
func (s *stateStore) Close() error { return s.client.Close() }
