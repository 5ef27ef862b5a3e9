package mdns

import (
	"errors"
	"io"
	"log"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/mdns"
)

const (
	// browseTime is how long one question waits for answers, as in Dapr.
	browseTime = time.Second
	// maxBrowses bounds the browses at one time, each of which has sockets.
	maxBrowses = 16
)

// browse is a question that is being asked. found is closed at the first fitting
// answer, ended when no more are waited for; err is set before that.
type browse struct {
	found, ended chan struct{}
	hit          bool
	err          error
}

func (r *Resolver) startBrowse(appID string) *browse {
	b := &browse{found: make(chan struct{}), ended: make(chan struct{})}
	r.memory.ask(appID, r.now())
	r.browses[appID] = b
	r.browsing.Go(func() {
		r.slots <- struct{}{}
		err := r.browse(b, appID)
		<-r.slots
		r.mu.Lock()
		defer r.mu.Unlock()
		b.err = err
		if r.browses[appID] == b {
			delete(r.browses, appID)
		}
		close(b.ended)
	})
	return b
}

// browse asks on all interfaces through the own sockets, and through hashicorp's
// client, which hears unicast answers, in rounds until something was found. It
// fails if nobody could be asked.
func (r *Resolver) browse(b *browse, appID string) error {
	name, err := nameOf(appID)
	if err != nil {
		return nil // nobody can have announced that
	}
	own, ownErr := r.open()
	if errors.Is(ownErr, errClosed) {
		return ownErr
	}
	if own != nil {
		own.rejoin()
		ownErr = own.send(question(name))
	}
	for _, length := range rounds() {
		end := time.NewTimer(length)
		if err := r.ask(name, length); err != nil && ownErr != nil {
			end.Stop()
			return errors.Join(ownErr, err)
		}
		select {
		case <-end.C:
		case <-r.quit:
			end.Stop()
			return errClosed
		}
		select {
		case <-b.found:
			return nil
		default:
		}
	}
	return nil
}

// rounds divides browseTime. Since hashicorp's client changes an entry after it
// has handed it over, its entries can be read only when a query is over.
func rounds() []time.Duration {
	return []time.Duration{browseTime / 10, browseTime * 3 / 10, browseTime * 6 / 10}
}

// ask queries each family by itself, since a query for both fails when one has no
// route. It fails if both do.
func (r *Resolver) ask(name string, length time.Duration) error {
	var queries sync.WaitGroup
	var err4, err6 error
	queries.Go(func() { err4 = r.query(name, &mdns.QueryParam{DisableIPv6: true, Timeout: length}) })
	queries.Go(func() { err6 = r.query(name, &mdns.QueryParam{DisableIPv4: true, Timeout: length}) })
	queries.Wait()
	if err4 != nil && err6 != nil {
		return err4
	}
	return nil
}

func (r *Resolver) query(name string, q *mdns.QueryParam) error {
	entries := make(chan *mdns.ServiceEntry, maxSightings)
	q.Service = name[:len(name)-len("."+domain)]
	q.Domain = "local"
	q.Entries = entries
	q.Logger = log.New(io.Discard, "", 0)
	err := mdns.Query(q)
	close(entries)
	for entry := range entries {
		if s, ok := sightingOf(entry); ok {
			r.take(s)
		}
	}
	return err
}

// sightingOf is the same rule as sightings, for an answer that hashicorp/mdns
// has put together.
func sightingOf(entry *mdns.ServiceEntry) (sighting, bool) {
	if len(entry.InfoFields) == 0 || entry.Port == 0 {
		return sighting{}, false
	}
	appID := unescapeText(entry.InfoFields[0])
	hosts := map[string]netip.Addr{}
	addHost(hosts, "", entry.AddrV4, "")
	if entry.AddrV6IPAddr != nil {
		addHost(hosts, "", entry.AddrV6IPAddr.IP, entry.AddrV6IPAddr.Zone)
	}
	host, ok := hosts[""]
	if !ok || !belongs(entry.Name, appID) {
		return sighting{}, false
	}
	address := netip.AddrPortFrom(host, uint16(entry.Port)).String()
	return sighting{appID: appID, address: address, ipv6: host.Is6(), secondHand: true}, true
}
