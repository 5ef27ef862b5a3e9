package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxFilterDepth bounds how deep filters may nest: far beyond what a person writes, and far below what
// would cost a stack.
const maxFilterDepth = 100

// ParseQuery reads the JSON text of a query:
//
//	{"filter": …, "sort": [{"key": …, "order": "ASC"|"DESC"}], "page": {"limit": …, "token": …}}
//
// A filter has exactly one operator. Everything may be left out.
func ParseQuery(text []byte) (*Query, error) {
	query, err := parseQuery(text)
	if err != nil {
		return nil, fmt.Errorf("failed to parse JSON query body: %w", err)
	}
	return query, nil
}

func parseQuery(text []byte) (*Query, error) {
	var body struct {
		Filter map[string]any `json:"filter"`
		Sort   []struct {
			Key   string `json:"key"`
			Order string `json:"order"`
		} `json:"sort"`
		Page struct {
			Limit int    `json:"limit"`
			Token string `json:"token"`
		} `json:"page"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&body); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("unexpected text after the query")
	}
	query := &Query{Limit: body.Page.Limit, Token: body.Page.Token}
	if query.Limit < 0 {
		return nil, fmt.Errorf("page.limit: expected 0 or more, got %d", query.Limit)
	}
	for i, sort := range body.Sort {
		if sort.Key == "" {
			return nil, fmt.Errorf("sort[%d].key: expected a path, got nothing", i)
		}
		if sort.Order != "" && sort.Order != "ASC" && sort.Order != "DESC" {
			return nil, fmt.Errorf("sort[%d].order: expected ASC or DESC, got %q", i, sort.Order)
		}
		query.Sort = append(query.Sort, Sort{Path: sort.Key, Descending: sort.Order == "DESC"})
	}
	if len(body.Filter) == 0 {
		return query, nil
	}
	var err error
	query.Filter, err = parseFilter(body.Filter, 1)
	return query, err
}

func parseFilter(object map[string]any, depth int) (Filter, error) {
	if depth > maxFilterDepth {
		return nil, fmt.Errorf("filter: nested deeper than %d levels", maxFilterDepth)
	}
	operator, operand, err := only(object)
	if err != nil {
		return nil, fmt.Errorf("filter: expected one operator, %w", err)
	}
	switch operator {
	case OperatorAnd, OperatorOr:
		return parseCombination(operator, operand, depth)
	case OperatorIn:
		return parseIn(operand)
	case OperatorEqual, OperatorNotEqual, OperatorGreater, OperatorGreaterOrEqual, OperatorLess, OperatorLessOrEqual:
		return parseComparison(operator, operand)
	}
	return nil, fmt.Errorf("filter: unknown operator %q: expected EQ, NEQ, GT, GTE, LT, LTE, IN, AND or OR", operator)
}

func parseCombination(operator string, operand any, depth int) (Filter, error) {
	list, ok := operand.([]any)
	if !ok || len(list) < 2 {
		return nil, fmt.Errorf("%s: expected a list of at least two filters", operator)
	}
	combination := &Combination{Operator: operator, Filters: make([]Filter, 0, len(list))}
	for _, element := range list {
		object, ok := element.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s: expected a filter in each place of its list", operator)
		}
		filter, err := parseFilter(object, depth+1)
		if err != nil {
			return nil, err
		}
		combination.Filters = append(combination.Filters, filter)
	}
	return combination, nil
}

func parseComparison(operator string, operand any) (Filter, error) {
	path, value, err := pathAndValue(operator, operand)
	if err != nil {
		return nil, err
	}
	if !scalar(value) {
		return nil, fmt.Errorf("%s %q: expected a string, a number, a boolean or null", operator, path)
	}
	return &Comparison{Operator: operator, Path: path, Values: []any{value}}, nil
}

func parseIn(operand any) (Filter, error) {
	path, value, err := pathAndValue(OperatorIn, operand)
	if err != nil {
		return nil, err
	}
	values, ok := value.([]any)
	if !ok || len(values) == 0 {
		return nil, fmt.Errorf("IN %q: expected a list of at least one value", path)
	}
	for _, one := range values {
		if !scalar(one) {
			return nil, fmt.Errorf("IN %q: expected strings, numbers, booleans or null", path)
		}
	}
	return &Comparison{Operator: OperatorIn, Path: path, Values: values}, nil
}

func pathAndValue(operator string, operand any) (string, any, error) {
	object, ok := operand.(map[string]any)
	if !ok {
		return "", nil, fmt.Errorf("%s: expected an object with one pair of path and value", operator)
	}
	path, value, err := only(object)
	if err != nil {
		return "", nil, fmt.Errorf("%s: expected one pair of path and value, %w", operator, err)
	}
	if path == "" {
		return "", nil, fmt.Errorf("%s: expected a path, got nothing", operator)
	}
	return path, value, nil
}

func only(object map[string]any) (string, any, error) {
	if len(object) != 1 {
		return "", nil, fmt.Errorf("got %d", len(object))
	}
	for name, value := range object {
		return name, value, nil
	}
	return "", nil, nil
}

func scalar(value any) bool {
	switch value.(type) {
	case nil, string, json.Number, bool:
		return true
	}
	return false
}
