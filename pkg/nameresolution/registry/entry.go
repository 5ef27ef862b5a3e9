package registry

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/daprd/daprd/pkg/nameresolution"
)

const (
	suffix = ".json"
	// draftPrefix marks a file that is not yet an entry. No name of an entry
	// begins so, since escape writes every '.' of an app id in another way.
	draftPrefix = ".draft-"
	// maxEntrySize bounds what is read of one file; an entry is some 300 bytes.
	maxEntrySize = 16 << 10
	// maxNameLength leaves room for the suffix and the random part in the 255
	// bytes that file systems allow. Names cut there may be shared by app ids;
	// the entry itself holds the whole one.
	maxNameLength = 180
)

// entry is the content of a file. What is there for people who look into the
// folder (process, time, other ports) is not read back.
type entry struct {
	AppID     string    `json:"appId"`
	Namespace string    `json:"namespace"`
	Address   string    `json:"address"`
	HTTPPort  int       `json:"httpPort,omitempty"`
	AppPort   int       `json:"appPort,omitempty"`
	Instance  string    `json:"instanceId,omitempty"`
	PID       int       `json:"pid"`
	Announced time.Time `json:"announced"`
}

func newEntry(a nameresolution.Announcement) entry {
	return entry{
		AppID:     a.AppID,
		Namespace: namespaceOf(a.Namespace),
		Address:   a.Address(),
		HTTPPort:  a.HTTPPort,
		AppPort:   a.AppPort,
		Instance:  a.InstanceID,
		PID:       os.Getpid(),
		Announced: time.Now().UTC().Truncate(time.Second),
	}
}

func (e entry) isFor(target nameresolution.Target) bool {
	return e.AppID == target.AppID && e.Namespace == namespaceOf(target.Namespace)
}

func namespaceOf(namespace string) string {
	if namespace == "" {
		return nameresolution.DefaultNamespace
	}
	return namespace
}

// decodeEntry reads the content of a file and refuses what is no address.
func decodeEntry(r io.Reader) (entry, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxEntrySize+1))
	if err != nil {
		return entry{}, err
	}
	if len(data) > maxEntrySize {
		return entry{}, errors.New("entry is too large")
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return entry{}, err
	}
	if host, port, err := net.SplitHostPort(e.Address); err != nil || host == "" || port == "" {
		return entry{}, fmt.Errorf("entry has no usable address: %q", e.Address)
	}
	return e, nil
}

// prefix is how the names of all entries of an app id begin.
func prefix(appID string) string {
	name := escape(appID)
	return name[:min(len(name), maxNameLength)] + "."
}

// newName is never used twice, so that a name that is seen with a dead entry can
// be removed without harm to a living one.
func newName(appID string) string {
	return prefix(appID) + rand.Text() + suffix
}

// escape keeps what is safe in the names of files of every system and writes all
// other bytes as %XX.
func escape(appID string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(appID) {
		c := appID[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			// Capital letters too: some file systems do not tell them apart.
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
