package memory

import "container/heap"

// expiry orders records by the time that they expire, so that a sweep looks at those only that it removes.
// Each record knows its place, so that one that is written again leaves at once.
type expiry []*record

func (e *expiry) push(r *record) { heap.Push((*expiryHeap)(e), r) }

func (e *expiry) remove(place int) { heap.Remove((*expiryHeap)(e), place) }

// expiryHeap keeps the methods that only container/heap calls apart from those of expiry.
type expiryHeap []*record

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].expires < h[j].expires }

func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *expiryHeap) Push(x any) {
	r := x.(*record)
	r.place = len(*h)
	*h = append(*h, r)
}

func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return r
}
