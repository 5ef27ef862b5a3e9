package statetest

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/daprd/daprd/pkg/state"
)

const (
	writers    = 16
	increments = 10
)

// atOnce runs n writers, which all start together.
func atOnce(n int, write func(writer int)) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for writer := range n {
		all.Go(func() {
			<-start
			write(writer)
		})
	}
	close(start)
	all.Wait()
}

func (f *fixture) race() {
	key := f.key("k")
	f.put(key, "start")
	tag := f.get(key).ETag
	var won atomic.Int64
	var winner atomic.Value
	atOnce(writers, func(writer int) {
		value := strconv.Itoa(writer)
		err := f.store.Set(f.ctx, &state.SetRequest{Key: key, Value: []byte(value), ETag: &tag, Concurrency: state.FirstWrite})
		if err == nil {
			won.Add(1)
			winner.Store(value)
			return
		}
		if refused, ok := state.IsETag(err); !ok || refused.Kind != state.ETagMismatch {
			f.Errorf("writer %d: error %v, want a mismatch", writer, err)
		}
	})
	if won.Load() != 1 {
		f.Fatalf("%d writers won with the same tag, want 1", won.Load())
	}
	f.wantValue(key, winner.Load().(string))
}

func (f *fixture) createRace() {
	key := f.key("k")
	var won atomic.Int64
	var winner atomic.Value
	atOnce(writers, func(writer int) {
		value := strconv.Itoa(writer)
		err := f.store.Set(f.ctx, &state.SetRequest{Key: key, Value: []byte(value), Concurrency: state.FirstWrite})
		if err == nil {
			won.Add(1)
			winner.Store(value)
			return
		}
		if _, refused := state.IsETag(err); !refused && !f.options.FirstWriteIsPlain {
			f.Errorf("writer %d: error %v, want a mismatch", writer, err)
		}
	})
	if won.Load() != 1 {
		f.Fatalf("%d first writes of one key won, want 1", won.Load())
	}
	f.wantValue(key, winner.Load().(string))
}

func (f *fixture) counters() {
	key := f.key("counter")
	f.put(key, "0")
	atOnce(writers, func(int) {
		for range increments {
			f.increment(key)
		}
	})
	f.wantValue(key, strconv.Itoa(writers*increments))
}

// increment reads and writes until nobody came between.
func (f *fixture) increment(key string) {
	for f.ctx.Err() == nil {
		item, err := f.store.Get(f.ctx, &state.GetRequest{Key: key})
		if err != nil {
			f.Errorf("get: %v", err)
			return
		}
		n, err := strconv.Atoi(string(item.Value))
		if err != nil {
			f.Errorf("counter holds %q", item.Value)
			return
		}
		value := strconv.AppendInt(nil, int64(n+1), 10)
		err = f.store.Set(f.ctx, &state.SetRequest{Key: key, Value: value, ETag: &item.ETag, Concurrency: state.FirstWrite})
		if err == nil {
			return
		}
		if _, refused := state.IsETag(err); !refused {
			f.Errorf("set: %v", err)
			return
		}
	}
	f.Errorf("increment: %v", f.ctx.Err())
}

func (f *fixture) deleteRace() {
	key := f.key("k")
	f.put(key, "v")
	tag := f.get(key).ETag
	var won atomic.Int64
	atOnce(writers, func(writer int) {
		var err error
		if writer%2 == 0 {
			err = f.store.Delete(f.ctx, &state.DeleteRequest{Key: key, ETag: &tag})
		} else {
			err = f.store.Set(f.ctx, &state.SetRequest{Key: key, Value: []byte("w"), ETag: &tag})
		}
		if err == nil {
			won.Add(1)
		} else if _, refused := state.IsETag(err); !refused {
			f.Errorf("writer %d: %v", writer, err)
		}
	})
	if won.Load() != 1 && !f.options.ETagOnAbsent {
		f.Fatalf("%d of set and delete won with the same tag, want 1", won.Load())
	}
}

func (f *fixture) transactionRace() {
	transactor, ok := f.store.(state.Transactor)
	if !ok {
		f.Skip("the store has no transactions")
	}
	keys := make([]string, 8)
	for i := range keys {
		keys[i] = f.key(strconv.Itoa(i))
	}
	atOnce(writers, func(writer int) {
		ops := make([]state.Operation, len(keys))
		for i := range keys {
			// Opposite orders, so that locks taken in the order of the operations would wait for each other.
			at := i
			if writer%2 == 1 {
				at = len(keys) - 1 - i
			}
			ops[i].Set = &state.SetRequest{Key: keys[at], Value: strconv.AppendInt(nil, int64(writer), 10)}
		}
		if err := transactor.Transact(f.ctx, ops, nil); err != nil {
			f.Errorf("writer %d: %v", writer, err)
		}
	})
	want := string(f.get(keys[0]).Value)
	for _, key := range keys {
		f.wantValue(key, want)
	}
}
