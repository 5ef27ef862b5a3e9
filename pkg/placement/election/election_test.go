package election

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start has a server take part; the test closes it.
func start(t *testing.T, folder string, peers ...Peer) *Election {
	t.Helper()
	log, _ := logtest.NewNullLogger()
	e, err := Start(t.Context(), Config{ID: peers[0].ID, Peers: peers, Folder: folder, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func closes(t *testing.T, e *Election) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// free is an address that nobody listens at.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// candidate asks a server for its vote in the name of one of its peers.
func candidate(t *testing.T, peer, server Peer, term uint64) (granted bool, answered uint64) {
	t.Helper()
	wire, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, 10*time.Second, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	var vote raft.RequestVoteResponse
	err = wire.RequestVote(raft.ServerID(server.ID), raft.ServerAddress(server.Address), &raft.RequestVoteRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(peer.ID), Addr: []byte(peer.Address)},
		Term:      term, LastLogIndex: term, LastLogTerm: term}, &vote)
	if err != nil {
		t.Fatal(err)
	}
	return vote.Granted, vote.Term
}

// TestVotes: a server that was killed after it had voted does not vote for another in the same term where its votes are
// kept in a folder. Kept in memory they are forgotten, which shows that it is the folder that does it.
func TestVotes(t *testing.T) {
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprintf("kept %v", kept), func(t *testing.T) {
			voter, one, other := Peer{"voter", free(t)}, Peer{"one", free(t)}, Peer{"other", free(t)}
			folder, after := "", ""
			if kept {
				folder, after = t.TempDir(), t.TempDir()
			}
			const term = 1000
			e := start(t, folder, voter, one, other)
			if granted, _ := candidate(t, one, voter, term); !granted {
				t.Error("the first one does not get the vote")
			}
			if kept { // as the disk is at this moment, whatever an orderly end may write
				text, err := os.ReadFile(filepath.Join(folder, "raft.db"))
				if err == nil {
					err = os.WriteFile(filepath.Join(after, "raft.db"), text, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			closes(t, e)
			e = start(t, after, voter, one, other)
			defer closes(t, e)
			granted, answered := candidate(t, other, voter, term)
			if granted == kept || answered != term {
				t.Errorf("the other one gets the vote of the same term: %v, in term %d", granted, answered)
			}
			if !kept {
				return
			}
			if granted, _ := candidate(t, one, voter, term); !granted {
				t.Error("the first one does not get the vote that it had")
			}
			if granted, _ := candidate(t, other, voter, term+1); !granted {
				t.Error("the other one does not get the vote of the next term")
			}
		})
	}
}

// TestLongLife: a server starts again from its folder, however many elections there were.
func TestLongLife(t *testing.T) {
	folder, own := t.TempDir(), Peer{"a", free(t)}
	leads := func(e *Election) {
		t.Helper()
		select {
		case <-e.raft.LeaderCh():
		case <-t.Context().Done():
			t.Fatal("it does not lead")
		}
	}
	e := start(t, folder, own)
	leads(e)
	for range 200 { // each stands for an election, which is an entry, too
		if err := e.raft.Apply(nil, 0).Error(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.raft.Snapshot().Error(); err != nil { // it comes by itself after a while
		t.Fatal(err)
	}
	closes(t, e)
	e = start(t, folder, own)
	leads(e)
	closes(t, e)
}
