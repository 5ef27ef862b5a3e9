package redis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/state"
)

const peopleIndex = `[{"name":"people","indexes":[{"key":"person.org","type":"TEXT"},{"key":"person.id","type":"NUMERIC"},{"key":"city","type":"TEXT"}]}]`

func parsed(t testing.TB, query string) *state.Query {
	t.Helper()
	q, err := state.ParseQuery([]byte(query))
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestSearchCommand(t *testing.T) {
	all, err := parseIndexes(peopleIndex)
	if err != nil {
		t.Fatal(err)
	}
	const end = " RETURN 2 $.data $.version"
	cases := map[string]struct{ query, want, err string }{
		"all":           {`{}`, "*" + end, ""},
		"text":          {`{"filter":{"EQ":{"person.org":"Dev Ops"}}}`, "@var0:(Dev Ops)" + end, ""},
		"number":        {`{"filter":{"EQ":{"person.id":1042}}}`, "@var1:[1042 1042]" + end, ""},
		"fraction":      {`{"filter":{"EQ":{"person.id":10.50}}}`, "@var1:[10.50 10.50]" + end, ""},
		"not a text":    {`{"filter":{"NEQ":{"person.org":"A"}}}`, "-@var0:(A)" + end, ""},
		"not a number":  {`{"filter":{"NEQ":{"person.id":1}}}`, "-@var1:[1 1]" + end, ""},
		"greater":       {`{"filter":{"GT":{"person.id":1}}}`, "@var1:[(1 +inf]" + end, ""},
		"at least":      {`{"filter":{"GTE":{"person.id":1}}}`, "@var1:[1 +inf]" + end, ""},
		"less":          {`{"filter":{"LT":{"person.id":-1}}}`, "@var1:[-inf (-1]" + end, ""},
		"at most":       {`{"filter":{"LTE":{"person.id":1}}}`, "@var1:[-inf 1]" + end, ""},
		"texts":         {`{"filter":{"IN":{"city":["Rome","New York"]}}}`, "(@var2:(Rome))|(@var2:(New York))" + end, ""},
		"numbers":       {`{"filter":{"IN":{"person.id":[1,2]}}}`, "(@var1:[1 1])|(@var1:[2 2])" + end, ""},
		"and":           {`{"filter":{"AND":[{"EQ":{"city":"A"}},{"EQ":{"person.id":1}}]}}`, "(@var2:(A)) (@var1:[1 1])" + end, ""},
		"or within and": {`{"filter":{"AND":[{"EQ":{"city":"A"}},{"OR":[{"EQ":{"person.id":1}},{"IN":{"city":["B","C"]}}]}]}}`, "(@var2:(A)) ((@var1:[1 1])|((@var2:(B))|(@var2:(C))))" + end, ""},
		"search syntax": {`{"filter":{"EQ":{"city":"a-b|c) @x:{y}"}}}`, `@var2:(a\-b\|c\) \@x\:\{y\})` + end, ""},
		"sorted":        {`{"sort":[{"key":"city"}]}`, "* SORTBY var2" + end, ""},
		"sorted down":   {`{"sort":[{"key":"person.id","order":"DESC"}]}`, "* SORTBY var1 DESC" + end, ""},
		"page":          {`{"page":{"limit":3}}`, "* LIMIT 0 3" + end, ""},
		"next page":     {`{"page":{"limit":3,"token":"6"}}`, "* LIMIT 6 3" + end, ""},
		"foreign token": {`{"page":{"limit":3,"token":"x"}}`, "", `the page token "x" was not given by this store`},
		"two sorts":     {`{"sort":[{"key":"city"},{"key":"person.id"}]}`, "", "sorts by one key only"},
		"unknown key":   {`{"filter":{"EQ":{"age":1}}}`, "", `the key "age" is not in the index "people": add it to queryIndexes`},
		"unknown sort":  {`{"sort":[{"key":"age"}]}`, "", `the key "age" is not in the index "people"`},
		"text in order": {`{"filter":{"GT":{"city":"A"}}}`, "", `orders numbers only; GT has the text "A"`},
		"boolean":       {`{"filter":{"EQ":{"city":true}}}`, "", "compares texts and numbers only; EQ has true"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			command, err := searchCommand(all["people"], parsed(t, c.query))
			if c.err != "" || err != nil {
				if err == nil || c.err == "" || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			want := "FT.SEARCH people " + c.want
			if got := strings.TrimSuffix(fmt.Sprintln(command...), "\n"); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestQuery(t *testing.T) {
	module := startModule(t)
	module.answer("FT.CREATE", errors.New("Index already exists"))
	module.answer("FT.CREATE", "OK")
	module.answer("FT.DROPINDEX", "OK")
	store := openState(t, module.address(), "queryIndexes", peopleIndex)
	create := "FT.CREATE people ON JSON SCHEMA $.data.person.org AS var0 TEXT SORTABLE $.data.person.id AS var1 NUMERIC SORTABLE $.data.city AS var2 TEXT SORTABLE"
	if diff := cmp.Diff([]string{create, "FT.DROPINDEX people", create}, module.heard("FT.")); diff != "" {
		t.Errorf("at the start:\n%s", diff)
	}
	named := map[string]string{"queryIndexName": "people"}

	module.answer("FT.SEARCH", []any{5, "app||1", []any{"$.data", `{"city":"Rome"}`, "$.version", "3"}, "app||2", []any{"$.version", "1", "$.data", "2"}})
	result, err := store.Query(t.Context(), parsed(t, `{"page":{"limit":2,"token":"1"}}`), named)
	if err != nil {
		t.Fatal(err)
	}
	want := &state.QueryResult{Token: "3", Items: []state.Item{
		{Key: "app||1", Value: []byte(`{"city":"Rome"}`), ETag: "3", Found: true},
		{Key: "app||2", Value: []byte("2"), ETag: "1", Found: true}}}
	if diff := cmp.Diff(want, result); diff != "" {
		t.Error(diff)
	}

	module.answer("FT.SEARCH", []any{0})
	if result, err = store.Query(t.Context(), parsed(t, `{"page":{"limit":2}}`), named); err != nil || len(result.Items) != 0 || result.Token != "" {
		t.Errorf("nothing found: %+v, %v", result, err)
	}
	module.answer("FT.SEARCH", errors.New("Syntax error at offset 3"))
	if _, err = store.Query(t.Context(), parsed(t, `{}`), named); errorText(err) != "Syntax error at offset 3" {
		t.Errorf("refused: %v", err)
	}
	for _, metadata := range []map[string]string{nil, {"queryIndexName": "x"}} {
		if _, err := store.Query(t.Context(), parsed(t, `{}`), metadata); err == nil || !strings.HasPrefix(err.Error(), "query index not found") {
			t.Errorf("%v: %v", metadata, err)
		}
	}
}

func TestIndexRefused(t *testing.T) {
	module := startModule(t)
	module.answer("FT.CREATE", errors.New("ERR unknown command 'FT.CREATE'"))
	_, err := NewState(t.Context(), spec(module.address(), "queryIndexes", peopleIndex))
	if want := "redis store: metadata property queryIndexes: create the search index people: ERR unknown command 'FT.CREATE'"; errorText(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// module stands in for a server with the JSON and search modules: it speaks RESP, writes down what it hears
// and answers FT.* as it was told.
type module struct {
	listener net.Listener
	serving  sync.WaitGroup
	mu       sync.Mutex
	open     []net.Conn
	answers  map[string][]any
	commands []string
}

func startModule(t *testing.T) *module {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &module{listener: listener, answers: map[string][]any{}}
	m.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.open = append(m.open, conn)
			m.mu.Unlock()
			m.serving.Go(func() { m.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		m.mu.Lock()
		for _, conn := range m.open {
			_ = conn.Close()
		}
		m.mu.Unlock()
		m.serving.Wait()
	})
	return m
}

func (m *module) address() string { return m.listener.Addr().String() }

// answer is what the next command of that name gets.
func (m *module) answer(command string, value any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers[command] = append(m.answers[command], value)
}

// heard gives the commands whose name begins so.
func (m *module) heard(prefix string) (found []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, command := range m.commands {
		if strings.HasPrefix(command, prefix) {
			found = append(found, command)
		}
	}
	return found
}

func (m *module) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		words, err := readCommand(in)
		if err != nil {
			return
		}
		var out strings.Builder
		writeAnswer(&out, m.reply(words))
		if _, err := io.WriteString(conn, out.String()); err != nil {
			return
		}
	}
}

func (m *module) reply(words []string) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commands = append(m.commands, strings.Join(words, " "))
	name := strings.ToUpper(words[0])
	if queue := m.answers[name]; len(queue) > 0 {
		m.answers[name] = queue[1:]
		return queue[0]
	}
	switch name {
	case "PING":
		return "PONG"
	case "INFO":
		return "connected_slaves:0\r\n"
	case "COMMAND":
		return []any{[]any{"json.set", -4}}
	}
	return errors.New("ERR unknown command '" + words[0] + "'")
}

func readCommand(in *bufio.Reader) ([]string, error) {
	count, err := readLength(in, '*')
	words := make([]string, count)
	for i := range words {
		var size int
		if size, err = readLength(in, '$'); err != nil {
			return nil, err
		}
		text := make([]byte, size+2)
		if _, err = io.ReadFull(in, text); err != nil {
			return nil, err
		}
		words[i] = string(text[:size])
	}
	return words, err
}

func readLength(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("%q is no %c", line, kind)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

func writeAnswer(out *strings.Builder, value any) {
	switch value := value.(type) {
	case error:
		fmt.Fprintf(out, "-%s\r\n", value)
	case int:
		fmt.Fprintf(out, ":%d\r\n", value)
	case string:
		fmt.Fprintf(out, "$%d\r\n%s\r\n", len(value), value)
	case []any:
		fmt.Fprintf(out, "*%d\r\n", len(value))
		for _, one := range value {
			writeAnswer(out, one)
		}
	}
}

// Whatever the server answers, reading it ends in items or an error.
func FuzzReadSearch(f *testing.F) {
	f.Add("app||1", "$.data", "1", 1)
	f.Fuzz(func(_ *testing.T, key, field, value string, shape int) {
		answer := []any{int64(1), key, []any{field, value}, nil, []any{field}}
		query := &state.Query{Limit: shape}
		_, _ = readSearch(answer[:max(0, min(shape, len(answer)))], query)
	})
}

// No text of a caller reaches the search language as syntax.
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "a b", `\`, ") | (@var1:[0 1]", "é中", "\x00\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted := quote(text)
		for i := 0; i < len(quoted); i++ {
			if quoted[i] == '\\' {
				i++ // what follows is plain
				continue
			}
			if strings.IndexByte(`()|@{}[]-"'~*%:`, quoted[i]) >= 0 {
				t.Fatalf("%q has a plain %c in %q", text, quoted[i], quoted)
			}
		}
	})
}
