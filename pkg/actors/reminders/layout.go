package reminders

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/actors/schedule"
)

// The layout in the store is described in docs/reminders.md. Three things in it carry the promises:
//
//   - A page is the truth about which reminders there are. It is written under its entity tag alone, and never deleted, so
//     that a tag cannot come back. Whoever adds or removes an entry does it by this one write.
//   - What a page names (a record, the pages that it was divided into) has a name that was never used before. It is written
//     before or with the page, so that a page never names what is not there; what no page names does not count. So it does
//     not matter whether the store takes a transaction back that was refused in part (Redis does not).
//   - A record never changes. What changes with each firing is in the track beside it, which means nothing without it.

// The bounds of a page: entries, and the bytes of its text. A page that is above is divided by the next who adds to it.
const (
	maxEntries   = 64
	maxPageBytes = 64 << 10
)

// position is where a reminder stands in the index: the shard and six digits are those of the actor's place in the ring,
// so that the reminders of a part of the ring are found together; the other digits are the name's, so that an actor may
// have many.
type position struct{ actor, name uint64 }

func positionOf(actorID, name string) position {
	return position{placement.Position(actorID), placement.Position(name)}
}

const (
	shards = 256
	// actorDigits and allDigits are how many hexadecimal digits come behind the shard.
	actorDigits = 6
	allDigits   = actorDigits + 16
)

func (p position) shard() int { return int(p.actor >> 56) }

// digit chooses one of the 16 pages into which a page at depth was divided.
func (p position) digit(depth int) int {
	if depth < actorDigits {
		return int(p.actor >> (52 - 4*depth) & 0xf)
	}
	return int(p.name >> (60 - 4*(depth-actorDigits)) & 0xf)
}

// place is a page's in the tree: the digits that lead to it, the shard's two first.
type place struct {
	shard int
	path  string
	// branch is the name that its siblings have in common, "" for the first page of a shard.
	branch string
}

func root(shard int) place { return place{shard: shard, path: twoDigits(shard)} }

func (p place) depth() int { return len(p.path) - 2 }

func (p place) child(branch string, digit int) place {
	return place{p.shard, p.path + hexDigits[digit:digit+1], branch}
}

// span is the part of the ring whose actors may be here.
func (p place) span() placement.Range {
	digits := min(len(p.path), 2+actorDigits)
	first, _ := strconv.ParseUint(p.path[:digits], 16, 64) // the path is made of digits
	shift := 64 - 4*digits
	first <<= shift
	return placement.Range{First: first, Last: first | (1<<shift - 1)}
}

// layout names the keys of one type's reminders. All of a shard have its number in braces and one partition key: they
// stand together in a Redis cluster, and in stores with partitions, so that a transaction may hold them.
type layout struct{ namespace, actorType string }

const keyPrefix = "daprd-reminders"

// index is the key of what is known of the whole type.
func (l layout) index() string {
	return keyPrefix + "||" + l.namespace + "||" + l.actorType + "||index"
}

// partition begins the keys of a shard.
func (l layout) partition(shard int) string {
	return keyPrefix + "||{" + twoDigits(shard) + "}||" + l.namespace + "||" + l.actorType
}

func (l layout) page(p place) string {
	return l.partition(p.shard) + "||page||" + p.path + "||" + p.branch
}

func (l layout) record(shard int, serial uint64) string {
	return l.partition(shard) + "||record||" + name(serial)
}

func (l layout) track(shard int, serial uint64) string {
	return l.partition(shard) + "||track||" + name(serial)
}

// serialDigits is the length of a serial in keys and pages.
const serialDigits = 16

// name is a serial as keys and pages have it.
func name(serial uint64) string {
	var digits [serialDigits]byte
	for i := range digits {
		digits[i] = hexDigits[serial>>(60-4*i)&0xf]
	}
	return string(digits[:])
}

// newSerial is one that was never used; 0 stands for none, and the largest for no number.
func newSerial() uint64 { return 1 + rand.Uint64N(1<<64-2) }

const hexDigits = "0123456789abcdef"

func twoDigits(shard int) string { return string([]byte{hexDigits[shard>>4], hexDigits[shard&0xf]}) }

// maxName bounds, in bytes, the ids and names of reminders.
const maxName = 16 << 10

func checkLengths(actorID, name string) error {
	if len(actorID) > maxName || len(name) > maxName {
		return fmt.Errorf("the actor's id has %d bytes and the reminder's name %d; %d are the most", len(actorID), len(name), maxName)
	}
	return nil
}

// record is a reminder as it was registered. It never changes.
type record struct {
	ActorID string     `json:"actor"`
	Name    string     `json:"name"`
	Data    []byte     `json:"data,omitempty"`
	DueTime string     `json:"dueTime,omitempty"`
	Period  string     `json:"period,omitempty"`
	TTL     string     `json:"ttl,omitempty"`
	Due     time.Time  `json:"due"`
	Left    int        `json:"left,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	Failure *Failure   `json:"failure,omitempty"`
}

func newRecord(r *Reminder, plan schedule.Plan) *record {
	made := &record{ActorID: r.ActorID, Name: r.Name, Data: r.Data, DueTime: r.DueTime, Period: r.Period, TTL: r.TTL,
		Due: plan.Due, Left: plan.Left, Failure: r.Failure}
	if !plan.Expires.IsZero() {
		made.Expires = &plan.Expires
	}
	return made
}

func (r *record) expires() time.Time {
	if r.Expires == nil {
		return time.Time{}
	}
	return *r.Expires
}

func (r *record) reminder(actorType string) *Reminder {
	return &Reminder{ActorType: actorType, ActorID: r.ActorID, Name: r.Name, Data: r.Data, DueTime: r.DueTime, Period: r.Period,
		TTL: r.TTL, Failure: r.Failure, Expires: r.expires()}
}

// track is what is left of a reminder that has fired.
type track struct {
	Due  time.Time `json:"due"`
	Left int       `json:"left,omitempty"`
}

// index is what is known of a type.
type index struct {
	// Shards are those ever used. A shard is named here before its first page is written.
	Shards bits `json:"shards"`
	// Move is the moving over of what Dapr 1.7 stored, while there is one.
	Move *move `json:"move,omitempty"`
}

// bits are one for each shard.
type bits [shards / 8]byte

// MarshalText is the JSON form: hexadecimal digits.
func (b bits) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b[:])), nil }

// UnmarshalText reads the JSON form.
func (b *bits) UnmarshalText(text []byte) error {
	if len(text) != 2*len(b) {
		return fmt.Errorf("%d digits of shards, want %d", len(text), 2*len(b))
	}
	_, err := hex.Decode(b[:], text)
	return err
}

func (b *bits) has(shard int) bool { return b[shard/8]&(1<<(shard%8)) != 0 }
func (b *bits) add(shard int)      { b[shard/8] |= 1 << (shard % 8) }

// encode writes a value of the layout, which cannot fail: it has texts, numbers and instants that can be written alone.
func encode(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}
