package injector

import (
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/daprd/daprd/pkg/config"
)

// kind is what the value of an annotation may be.
type kind[T any] struct {
	// allowed says it to users.
	allowed string
	// read is false for another value.
	read func(text string) (value T, ok bool)
}

// where narrows a kind.
func (k kind[T]) where(allowed string, holds func(T) bool) kind[T] {
	return kind[T]{allowed, func(text string) (T, bool) {
		value, ok := k.read(text)
		return value, ok && holds(value)
	}}
}

func boolean() kind[bool] {
	return kind[bool]{"true or false, also yes, on, 1, no, off, 0", func(text string) (bool, bool) {
		switch strings.ToLower(text) {
		case "0", "f", "false", "n", "no", "off":
			return false, true
		}
		return true, config.Truthy(text)
	}}
}

// optional is a kind whose absence means something of its own.
func optional[T any](k kind[T]) kind[*T] {
	return kind[*T]{k.allowed, func(text string) (*T, bool) {
		value, ok := k.read(text)
		return &value, ok
	}}
}

func integer() kind[int] {
	return kind[int]{"a whole number", func(text string) (int, bool) {
		n, err := strconv.Atoi(text)
		return n, err == nil
	}}
}

// count is a whole number of at least least and at most most.
func count(least, most int) kind[int] {
	return integer().where("a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most), func(n int) bool { return n >= least && n <= most })
}

func port() kind[int] {
	return integer().where("a port, 1 to 65535", func(n int) bool { return n >= 1 && n <= 65535 })
}

func duration(least time.Duration, allowed string) kind[time.Duration] {
	return kind[time.Duration]{"a duration, 30s or 5m for one" + allowed, func(text string) (time.Duration, bool) {
		d, err := time.ParseDuration(text)
		return d, err == nil && d >= least
	}}
}

func text(allowed string, holds func(string) bool) kind[string] {
	return kind[string]{allowed, func(text string) (string, bool) { return text, holds(text) }}
}

// oneOf takes the words in any case.
func oneOf(words ...string) kind[string] {
	return kind[string]{"one of " + strings.Join(words, ", "), func(text string) (string, bool) {
		i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, text) })
		if i < 0 {
			return "", false
		}
		return words[i], true
	}}
}

// list is of values between commas, with spaces around.
func list(of kind[string]) kind[[]string] {
	return kind[[]string]{of.allowed + ", several of them between commas", func(text string) (all []string, ok bool) {
		for part := range strings.SplitSeq(text, ",") {
			value, ok := of.read(strings.TrimSpace(part))
			if !ok {
				return nil, false
			}
			all = append(all, value)
		}
		return all, true
	}}
}

// objectName is how Secrets and Configurations are called.
func objectName() kind[string] {
	return text("the name of an object: lower-case letters, digits, - and ., 253 at most", func(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 })
}

func containerName() kind[string] {
	return text("the name of a container", func(s string) bool { return len(validation.IsDNS1123Label(s)) == 0 })
}

func absolutePath() kind[string] {
	return text("an absolute path", isFolder)
}

// isFolder leaves out the colon, which separates in lists, and what leads elsewhere.
func isFolder(s string) bool {
	return path.IsAbs(s) && path.Clean(s) == strings.TrimRight(s, "/") && !strings.ContainsAny(s, ":,") && printable(s)
}

// printable says that nothing odd is in a text that becomes an argument or part of a message.
func printable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '�' })
}

func word(allowed string) kind[string] {
	return text(allowed, func(s string) bool { return printable(s) && !strings.Contains(s, " ") })
}

// host is an address or a name, an IPv6 address with or without brackets.
func host() kind[string] {
	return text("a host, an IPv6 address in brackets", isHost)
}

func isHost(s string) bool {
	if inside, found := strings.CutPrefix(s, "["); found {
		inside, closed := strings.CutSuffix(inside, "]")
		return closed && net.ParseIP(inside) != nil
	}
	return net.ParseIP(s) != nil || len(validation.IsDNS1123Subdomain(strings.ToLower(s))) == 0
}

// address is a host and a port.
func address() kind[string] {
	return text("host:port", func(s string) bool {
		name, number, err := net.SplitHostPort(s)
		p, bad := strconv.Atoi(number)
		return err == nil && bad == nil && p > 0 && p <= 65535 && isHost(strings.Trim(name, "[]"))
	})
}

// addresses may also be switched off, by a blank value; quotation marks around it are Dapr's way to write one.
func addresses() kind[*[]string] {
	several := list(address())
	return kind[*[]string]{several.allowed + `, or "" for none`, func(text string) (*[]string, bool) {
		text = strings.TrimSpace(strings.Trim(strings.TrimSpace(text), `"'`))
		if text == "" {
			return &[]string{}, true
		}
		all, ok := several.read(text)
		return &all, ok
	}}
}

// quantity is what resources are counted in.
func quantity() kind[*resource.Quantity] {
	return kind[*resource.Quantity]{"a quantity above 0, 100m or 250Mi for one", func(text string) (*resource.Quantity, bool) {
		q, err := resource.ParseQuantity(text)
		return &q, err == nil && q.Sign() > 0
	}}
}

// size is a number of bytes, kept as it is written.
func size() kind[string] {
	return text("a size, 512Ki or 8Mi for one", func(s string) bool {
		_, err := config.ParseQuantity(s)
		return err == nil
	})
}

// variable is one of the environment.
type variable struct {
	name, value string
	// secret and key are where the value is, "" for one that is written out.
	secret, key string
}

// nextVariable finds where in a list the next one begins: commas are part of a value unless a name and = follow.
var nextVariable = regexp.MustCompile(`(?:^|,)\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*=`)

func variables() kind[[]variable] {
	return kind[[]variable]{"NAME=value, several of them between commas", func(text string) (all []variable, ok bool) {
		found := nextVariable.FindAllStringSubmatchIndex(text, -1)
		if len(found) == 0 || found[0][0] != 0 {
			return nil, false
		}
		for i, at := range found {
			end := len(text)
			if i+1 < len(found) {
				end = found[i+1][0]
			}
			all = append(all, variable{name: text[at[2]:at[3]], value: strings.TrimSpace(text[at[1]:end])})
		}
		return all, true
	}}
}

func secretVariables() kind[[]variable] {
	return kind[[]variable]{"NAME=secret:key, or NAME=secret where the key is called as the secret, several of them between commas", func(text string) (all []variable, ok bool) {
		for part := range strings.SplitSeq(text, ",") {
			name, from, found := strings.Cut(strings.TrimSpace(part), "=")
			secret, key, both := strings.Cut(strings.TrimSpace(from), ":")
			if !both {
				key = secret
			}
			name = strings.TrimSpace(name)
			if !found || len(validation.IsEnvVarName(name)) > 0 || len(validation.IsDNS1123Subdomain(secret)) > 0 || len(validation.IsConfigMapKey(key)) > 0 {
				return nil, false
			}
			all = append(all, variable{name: name, secret: secret, key: key})
		}
		return all, true
	}}
}

// mount is a volume of the pod and where the sidecar sees it.
type mount struct{ volume, path string }

func mounts() kind[[]mount] {
	return kind[[]mount]{"volume:/absolute/path, several of them between commas", func(text string) (all []mount, ok bool) {
		for part := range strings.SplitSeq(text, ",") {
			volume, folder, found := strings.Cut(strings.TrimSpace(part), ":")
			if !found || len(validation.IsDNS1123Label(volume)) > 0 || !isFolder(folder) {
				return nil, false
			}
			all = append(all, mount{volume, folder})
		}
		return all, true
	}}
}

// pairs are annotations of a Service, which the operator writes.
func pairs() kind[string] {
	return text("key=value, several of them between commas", func(s string) bool {
		for part := range strings.SplitSeq(s, ",") {
			key, _, found := strings.Cut(strings.TrimSpace(part), "=")
			if !found || len(validation.IsQualifiedName(strings.TrimSpace(key))) > 0 {
				return false
			}
		}
		return true
	})
}
