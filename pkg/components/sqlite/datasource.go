package sqlite

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// dataSource is a connection string, completed.
type dataSource struct {
	dsn      string
	path     string
	inMemory bool
	readOnly bool
	warnings []string
}

// dataSource adds to the connection string what the component decides: locking,
// busy time-out, journal, and the one cache of a database in memory.
func (c databaseConfig) dataSource() (dataSource, error) {
	path, query, err := splitConnectionString(c.ConnectionString)
	if err != nil {
		return dataSource{}, err
	}
	source := dataSource{path: path}
	if err := checkPragmas(query["_pragma"]); err != nil {
		return dataSource{}, err
	}
	source.dropShorthands(query)
	if strings.EqualFold(path, ":memory:") {
		source.path, source.inMemory = ":memory:", true
	}
	if query.Get("mode") == "memory" {
		source.inMemory = true
	}
	source.readOnly = query.Get("mode") == "ro" || query.Get("immutable") == "1"

	source.lockImmediately(query)
	if source.inMemory {
		query.Set("cache", "shared")
	}
	if c.BusyTimeout > 0 {
		query.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", c.BusyTimeout.Milliseconds()))
	}
	query.Add("_pragma", "journal_mode("+c.journal(source)+")")
	source.dsn = "file:" + source.path + "?" + query.Encode()
	return source, nil
}

func (c databaseConfig) journal(source dataSource) string {
	switch {
	case source.inMemory:
		return "MEMORY"
	case c.DisableWAL, source.readOnly:
		return "DELETE"
	default:
		return "WAL"
	}
}

func splitConnectionString(s string) (path string, query url.Values, err error) {
	if s == "" {
		return "", nil, errors.New("missing connection string")
	}
	if len(s) >= len("file:") && strings.EqualFold(s[:len("file:")], "file:") {
		s = s[len("file:"):]
	}
	path, options, _ := strings.Cut(s, "?")
	if path == "" {
		return "", nil, errors.New("connection string names no file; write a path or :memory:")
	}
	query, err = url.ParseQuery(options)
	if err != nil {
		return "", nil, fmt.Errorf("options of the connection string: %w", err)
	}
	return path, query, nil
}

// checkPragmas refuses those that have a metadata field of their own, or on which
// the components rely.
func checkPragmas(pragmas []string) error {
	for _, pragma := range pragmas {
		name := strings.ToLower(strings.TrimSpace(pragma))
		if i := strings.IndexFunc(name, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }); i >= 0 {
			name = name[:i]
		}
		if slices.Contains([]string{"busy_timeout", "journal_mode", "foreign_keys"}, name) {
			return fmt.Errorf("found forbidden option '_pragma=%s' in the connection string", name)
		}
		if strings.Contains(pragma, ";") {
			return errors.New("an option '_pragma' in the connection string holds more than one statement; write one option for each")
		}
	}
	return nil
}

// dropShorthands takes out spellings of the forbidden pragmas that Dapr's driver
// does not know and ignores, but this project's would obey.
func (s *dataSource) dropShorthands(query url.Values) {
	for _, key := range []string{"_busy_timeout", "_timeout", "_journal_mode", "_journal", "_foreign_keys", "_fk"} {
		if query.Has(key) {
			query.Del(key)
			s.warnings = append(s.warnings, fmt.Sprintf("option '%s' in the connection string is ignored; use the component's metadata", key))
		}
	}
}

func (s *dataSource) lockImmediately(query url.Values) {
	switch lock := query.Get("_txlock"); {
	case lock == "":
		query.Set("_txlock", "immediate")
	case !strings.EqualFold(lock, "immediate"):
		s.warnings = append(s.warnings, fmt.Sprintf("option '_txlock=%s' in the connection string: concurrent writers may fail with 'database is locked'; 'immediate' is recommended", lock))
	}
}
