package statetest

import (
	"github.com/daprd/daprd/pkg/state"
)

func (f *fixture) transactor() state.Transactor {
	transactor, ok := f.store.(state.Transactor)
	if !ok {
		f.Skip("the store has no transactions")
	}
	return transactor
}

func (f *fixture) transaction() {
	transactor := f.transactor()
	f.put(f.key("gone"), "v")
	f.put(f.key("changed"), "old")
	ops := []state.Operation{
		{Set: &state.SetRequest{Key: f.key("new"), Value: []byte{0, 1, 255}}},
		{Set: &state.SetRequest{Key: f.key("changed"), Value: []byte(`{ "a":1 }`), JSON: true}},
		{Delete: &state.DeleteRequest{Key: f.key("gone")}},
		{Delete: &state.DeleteRequest{Key: f.key("never was")}},
		{Set: &state.SetRequest{Key: f.key("twice"), Value: []byte("1")}},
		{Set: &state.SetRequest{Key: f.key("twice"), Value: []byte("2")}},
		{Set: &state.SetRequest{Key: f.key("and gone"), Value: []byte("1")}},
		{Delete: &state.DeleteRequest{Key: f.key("and gone")}},
		{Set: &state.SetRequest{Key: f.key("ends"), Value: []byte("1"), Metadata: map[string]string{"ttlInSeconds": "1"}}},
	}
	if err := transactor.Transact(f.ctx, ops, nil); err != nil {
		f.Fatal(err)
	}
	f.wantValue(f.key("new"), "\x00\x01\xff")
	f.wantValue(f.key("changed"), `{ "a":1 }`)
	f.wantAbsent(f.key("gone"))
	f.wantAbsent(f.key("never was"))
	f.wantValue(f.key("twice"), "2")
	f.wantAbsent(f.key("and gone"))
	f.eventually("expiry", func() bool { return !f.get(f.key("ends")).Found })
	if err := transactor.Transact(f.ctx, nil, nil); err != nil {
		f.Errorf("no operations: %v", err)
	}
}

func (f *fixture) transactionTags() {
	transactor := f.transactor()
	set, gone := f.key("set"), f.key("gone")
	f.put(set, "1")
	f.put(gone, "1")
	setTag, goneTag := f.get(set).ETag, f.get(gone).ETag
	ops := []state.Operation{
		{Set: &state.SetRequest{Key: set, Value: []byte("2"), ETag: &setTag}},
		{Delete: &state.DeleteRequest{Key: gone, ETag: &goneTag}},
	}
	if err := transactor.Transact(f.ctx, ops, nil); err != nil {
		f.Fatal(err)
	}
	f.wantValue(set, "2")
	f.wantAbsent(gone)
	if tag := f.get(set).ETag; tag == setTag {
		f.Errorf("tag %q did not change", tag)
	}
}

func (f *fixture) transactionRefused() {
	transactor := f.transactor()
	f.put(f.key("guarded"), "old")
	f.put(f.key("kept"), "old")
	f.put(f.key("guarded delete"), "old")
	tag := wrongTag
	cases := []struct {
		name    string
		refused state.Operation
	}{
		{"set", state.Operation{Set: &state.SetRequest{Key: f.key("guarded"), Value: []byte("new"), ETag: &tag}}},
		{"delete", state.Operation{Delete: &state.DeleteRequest{Key: f.key("guarded delete"), ETag: &tag}}},
	}
	for _, c := range cases {
		ops := []state.Operation{
			{Set: &state.SetRequest{Key: f.key(c.name + " before"), Value: []byte("new")}},
			{Delete: &state.DeleteRequest{Key: f.key("kept")}},
			c.refused,
			{Set: &state.SetRequest{Key: f.key(c.name + " after"), Value: []byte("new")}},
		}
		if err := transactor.Transact(f.ctx, ops, nil); err == nil {
			f.Errorf("%s: a wrong tag is accepted", c.name)
		}
		if f.options.NoRollback {
			continue
		}
		f.wantAbsent(f.key(c.name + " before"))
		f.wantAbsent(f.key(c.name + " after"))
		f.wantValue(f.key("kept"), "old")
	}
	f.wantValue(f.key("guarded"), "old")
	f.wantValue(f.key("guarded delete"), "old")
}
