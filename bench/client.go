package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// result is what a client process reports, as JSON on its standard output.
type result struct {
	Requests  int
	Errors    int
	FirstFail string
	Elapsed   time.Duration
	Mean      time.Duration
	P50, P99  time.Duration
}

// manyActors is how many actors are called where a URL names one by "{actor}".
const manyActors = 10_000

// client sends one request over and over: the arguments are the verb, the URL and the size of the body.
func client(duration time.Duration, connections int) error {
	if flag.NArg() != 3 {
		return errors.New("client: want VERB URL SIZE")
	}
	var size int
	if _, err := fmt.Sscan(flag.Arg(2), &size); err != nil {
		return err
	}
	sender, body := newSender(connections), bytes.Repeat([]byte("x"), size)
	before, after, many := strings.Cut(flag.Arg(1), "{actor}")
	return load(duration, connections, func() error {
		url := before
		if many {
			url += strconv.Itoa(rand.IntN(manyActors)) + after
		}
		return sender.send(flag.Arg(0), url, "application/octet-stream", body)
	})
}

// load makes a call over and over from as many workers as there are connections, and prints the result.
func load(duration time.Duration, connections int, call func() error) error {
	run(duration/10, connections, call) // warm up: connections, caches
	return json.NewEncoder(os.Stdout).Encode(run(duration, connections, call))
}

func run(duration time.Duration, connections int, call func() error) result {
	var (
		workers = make([]worker, connections)
		began   = time.Now()
		until   = began.Add(duration)
		wait    sync.WaitGroup
	)
	for i := range workers {
		wait.Go(func() { workers[i].run(call, until) })
	}
	wait.Wait()
	return summary(workers, time.Since(began))
}

// worker is one connection's worth of load.
type worker struct {
	latencies []time.Duration
	errors    int
	firstFail string
}

func (w *worker) run(call func() error, until time.Time) {
	for began := time.Now(); began.Before(until); {
		err := call()
		now := time.Now()
		if err != nil {
			if w.errors++; w.firstFail == "" {
				w.firstFail = err.Error()
			}
		} else {
			w.latencies = append(w.latencies, now.Sub(began))
		}
		began = now
	}
}

// sender sends requests over HTTP, kept alive.
type sender struct{ client fasthttp.Client }

func newSender(connections int) *sender {
	return &sender{fasthttp.Client{MaxConnsPerHost: connections, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}}
}

// send makes one request; an answer of no success is an error.
func (s *sender) send(verb, url, contentType string, body []byte) error {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.SetRequestURI(url)
	request.Header.SetMethod(verb)
	request.Header.SetContentType(contentType)
	request.SetBodyRaw(body)
	err := s.client.Do(request, response)
	if err == nil && response.StatusCode()/100 != 2 {
		err = fmt.Errorf("status %d: %.200s", response.StatusCode(), response.Body())
	}
	return err
}

func summary(workers []worker, elapsed time.Duration) result {
	r := result{Elapsed: elapsed}
	var all []time.Duration
	for _, w := range workers {
		all = append(all, w.latencies...)
		r.Errors += w.errors
		if r.FirstFail == "" {
			r.FirstFail = w.firstFail
		}
	}
	r.Requests = len(all)
	if len(all) == 0 {
		return r
	}
	slices.Sort(all)
	var sum time.Duration
	for _, l := range all {
		sum += l
	}
	r.Mean = sum / time.Duration(len(all))
	r.P50, r.P99 = all[len(all)/2], all[len(all)*99/100]
	return r
}
