package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/daprd/daprd/pkg/resiliency"
	"github.com/daprd/daprd/pkg/state"
)

// index is one entry of the metadata queryIndexes.
type index struct {
	Name   string `json:"name"`
	Fields []struct {
		Key  string `json:"key"`
		Type string `json:"type"`
	} `json:"indexes"`
}

// indexes are the search indexes by name.
type indexes map[string]index

func parseIndexes(text string) (indexes, error) {
	if text == "" {
		return nil, nil
	}
	var list []index
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf(`metadata property queryIndexes: want [{"name":…,"indexes":[{"key":…,"type":…}]}]: %w`, err)
	}
	all := make(indexes, len(list))
	for _, i := range list {
		if i.Name == "" || len(i.Fields) == 0 {
			return nil, fmt.Errorf("metadata property queryIndexes: an index needs a name and at least one entry in indexes, got %q", i.Name)
		}
		all[i.Name] = i
	}
	return all, nil
}

// variable is the alias of a key within the index: var0, var1 by position.
func (i index) variable(key string) (string, error) {
	for n, field := range i.Fields {
		if field.Key == key {
			return "var" + strconv.Itoa(n), nil
		}
	}
	return "", fmt.Errorf("the key %q is not in the index %q: add it to queryIndexes", key, i.Name)
}

// errNoModule is Dapr's text.
var errNoModule = errors.New("redis-json server support is required for query capability: load the JSON and search modules into Redis")

// createIndexes makes the search indexes anew, since their fields may have changed.
func (s *stateStore) createIndexes(ctx context.Context) error {
	for name, i := range s.indexes {
		err := s.client.Do(ctx, i.create()...).Err()
		if err != nil && strings.Contains(strings.ToLower(err.Error()), "index already exists") {
			if err = s.client.Do(ctx, "FT.DROPINDEX", name).Err(); err == nil {
				err = s.client.Do(ctx, i.create()...).Err()
			}
		}
		if err != nil {
			return fmt.Errorf("metadata property queryIndexes: create the search index %s: %w", name, s.client.failed(err))
		}
	}
	return nil
}

// create is the FT.CREATE of the index.
func (i index) create() []any {
	command := []any{"FT.CREATE", i.Name, "ON", "JSON", "SCHEMA"}
	for n, field := range i.Fields {
		command = append(command, "$.data."+field.Key, "AS", "var"+strconv.Itoa(n), field.Type, "SORTABLE")
	}
	return command
}

// Query searches the index that the metadata queryIndexName names.
func (s *stateStore) Query(ctx context.Context, query *state.Query, metadata map[string]string) (*state.QueryResult, error) {
	if !s.json {
		return nil, resiliency.Mistake(http.StatusBadRequest, errNoModule)
	}
	i, ok := s.indexes[metadata["queryIndexName"]]
	if !ok {
		return nil, resiliency.Mistake(http.StatusBadRequest,
			fmt.Errorf("query index not found: the metadata queryIndexName names %q, want one of queryIndexes", metadata["queryIndexName"]))
	}
	search, err := searchCommand(i, query)
	if err != nil {
		return nil, resiliency.Mistake(http.StatusBadRequest, err)
	}
	answer, err := s.client.Do(ctx, search...).Slice()
	if err != nil {
		return nil, s.client.failed(err)
	}
	return readSearch(answer, query)
}

// searchCommand is the FT.SEARCH for a query.
func searchCommand(i index, query *state.Query) ([]any, error) {
	text := "*"
	if query.Filter != nil {
		var err error
		if text, err = searchFilter(i, query.Filter); err != nil {
			return nil, err
		}
	}
	command := []any{"FT.SEARCH", i.Name, text}
	if len(query.Sort) > 1 {
		return nil, errors.New("Redis sorts by one key only; the query has more")
	}
	for _, sort := range query.Sort {
		variable, err := i.variable(sort.Path)
		if err != nil {
			return nil, err
		}
		if command = append(command, "SORTBY", variable); sort.Descending {
			command = append(command, "DESC")
		}
	}
	if query.Limit > 0 {
		offset, err := offset(query.Token)
		if err != nil {
			return nil, err
		}
		command = append(command, "LIMIT", offset, query.Limit)
	}
	return append(command, "RETURN", 2, "$.data", "$.version"), nil
}

func offset(token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(token)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("the page token %q was not given by this store", token)
	}
	return n, nil
}

func searchFilter(i index, filter state.Filter) (string, error) {
	switch f := filter.(type) {
	case *state.Combination:
		return searchCombination(i, f)
	case *state.Comparison:
		return searchComparison(i, f)
	}
	return "", fmt.Errorf("unknown filter %T", filter)
}

func searchCombination(i index, c *state.Combination) (string, error) {
	parts := make([]string, len(c.Filters))
	for n, filter := range c.Filters {
		part, err := searchFilter(i, filter)
		if err != nil {
			return "", err
		}
		parts[n] = "(" + part + ")"
	}
	if c.Operator == state.OperatorOr {
		return strings.Join(parts, "|"), nil
	}
	return strings.Join(parts, " "), nil
}

func searchComparison(i index, c *state.Comparison) (string, error) {
	variable, err := i.variable(c.Path)
	if err != nil {
		return "", err
	}
	terms := make([]string, len(c.Values))
	for n, value := range c.Values {
		if terms[n], err = term(variable, c.Operator, value); err != nil {
			return "", err
		}
	}
	if len(terms) > 1 {
		return "(" + strings.Join(terms, ")|(") + ")", nil
	}
	return terms[0], nil
}

// term is one condition in the language of the search module.
func term(variable, operator string, value any) (string, error) {
	switch value := value.(type) {
	case string:
		return textTerm(variable, operator, value)
	case json.Number:
		return numberTerm(variable, operator, value.String())
	}
	return "", fmt.Errorf("Redis compares texts and numbers only; %s has %v", operator, value)
}

func textTerm(variable, operator, text string) (string, error) {
	term := "@" + variable + ":(" + quote(text) + ")"
	switch operator {
	case state.OperatorEqual, state.OperatorIn:
		return term, nil
	case state.OperatorNotEqual:
		return "-" + term, nil
	}
	return "", fmt.Errorf("Redis orders numbers only; %s has the text %q", operator, text)
}

func numberTerm(variable, operator, number string) (string, error) {
	least, most, sign := number, number, ""
	switch operator {
	case state.OperatorEqual, state.OperatorIn:
	case state.OperatorNotEqual:
		sign = "-"
	case state.OperatorGreater:
		least, most = "("+number, "+inf"
	case state.OperatorGreaterOrEqual:
		most = "+inf"
	case state.OperatorLess:
		least, most = "-inf", "("+number
	case state.OperatorLessOrEqual:
		least = "-inf"
	default:
		return "", fmt.Errorf("unknown operator %s", operator)
	}
	return sign + "@" + variable + ":[" + least + " " + most + "]", nil
}

// quote keeps a text from being read as search syntax.
func quote(text string) string {
	const special = `,.<>{}[]"':;!@#$%^&*()-+=~|/\?`
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(special, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// readSearch reads the answer: the number of all results, then pairs of key and fields.
func readSearch(answer []any, query *state.Query) (*state.QueryResult, error) {
	result := &state.QueryResult{}
	for n := 1; n+1 < len(answer); n += 2 {
		key, _ := answer[n].(string)
		fields, _ := answer[n+1].([]any)
		found := state.Item{Key: key, Found: true}
		for f := 0; f+1 < len(fields); f += 2 {
			value, _ := fields[f+1].(string)
			switch fields[f] {
			case "$.data":
				found.Value = []byte(value)
			case "$.version":
				found.ETag = value
			}
		}
		result.Items = append(result.Items, found)
	}
	if query.Limit > 0 && len(result.Items) > 0 {
		start, err := offset(query.Token)
		if err != nil {
			return nil, err
		}
		result.Token = strconv.Itoa(start + len(result.Items))
	}
	return result, nil
}
