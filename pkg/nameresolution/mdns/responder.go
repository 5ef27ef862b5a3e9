package mdns

import (
	"errors"
	"io"
	"log"
	"sync"
	"time"

	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"
)

const (
	// announcementGap is the pause between the two announcements (RFC 6762, 8.3).
	announcementGap = time.Second
	// answerGap is the least pause between two answers by multicast. Questions
	// that come in it are answered together after it.
	answerGap = 20 * time.Millisecond
	// rejoinInterval is how often the responder looks for new interfaces, so that
	// a laptop's sidecars are found again on its next network.
	rejoinInterval = 30 * time.Second
)

// responder makes one service known: hashicorp's server answers questions by
// unicast, and since Dapr's sidecars do not hear that, the same is answered by
// multicast, with announcements before and a goodbye after.
type responder struct {
	service *service
	sockets *sockets     // nil if they cannot be had
	server  *mdns.Server // nil if it cannot be had

	// asked holds the id of a question that waits for its answer.
	asked chan uint16
	quit  chan struct{}
	done  sync.WaitGroup
}

// newResponder answers as far as the network allows. It fails only if it can
// neither answer by multicast nor by unicast.
func newResponder(s *service, own *sockets, ownErr error) (*responder, error) {
	server, serverErr := mdns.NewServer(&mdns.Config{Zone: s, Logger: log.New(io.Discard, "", 0)})
	if own != nil {
		ownErr = own.send(s.announcement(false))
	}
	if ownErr != nil && serverErr != nil {
		return nil, errors.Join(ownErr, serverErr)
	}
	r := &responder{service: s, sockets: own, server: server, asked: make(chan uint16, 1), quit: make(chan struct{})}
	if own != nil {
		r.done.Go(r.run)
	}
	return r, nil
}

// hear takes note of a question for the service. It never blocks.
func (r *responder) hear(m *dns.Msg) {
	if !r.service.isAsked(m) {
		return
	}
	select {
	case r.asked <- m.Id:
	default: // an answer is due anyway, and everybody hears it
	}
}

// run sends what is due. A packet that cannot be sent is not reported: the
// network may be away for a while, and whoever asked asks again.
func (r *responder) run() {
	again := time.NewTimer(announcementGap)
	defer again.Stop()
	look := time.NewTicker(rejoinInterval)
	defer look.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	var asked chan uint16 // nil during the pause after an answer
	for {
		select {
		case <-r.quit:
			return
		case <-again.C:
			_ = r.sockets.send(r.service.announcement(false))
		case <-look.C:
			r.sockets.rejoin()
		case <-pause.C:
			asked = r.asked
		case id := <-asked:
			_ = r.sockets.send(r.service.answer(id))
			asked = nil
			pause.Reset(answerGap)
		}
	}
}

// close says goodbye and stops to answer.
func (r *responder) close() error {
	close(r.quit)
	r.done.Wait()
	var err error
	if r.sockets != nil {
		// Nobody depends on the goodbye.
		_ = r.sockets.send(r.service.announcement(true))
	}
	if r.server != nil {
		err = r.server.Shutdown()
	}
	return err
}
