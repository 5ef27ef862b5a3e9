package pluggable

import (
	"encoding/json"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	componentsv1 "github.com/daprd/daprd/pkg/proto/components/v1"
	"github.com/daprd/daprd/pkg/state"
)

func getRequest(req *state.GetRequest) *componentsv1.GetRequest {
	return &componentsv1.GetRequest{Key: req.Key, Metadata: req.Metadata, Consistency: consistency(req.Consistency)}
}

func setRequest(req *state.SetRequest) *componentsv1.SetRequest {
	return &componentsv1.SetRequest{Key: req.Key, Value: req.Value, Etag: etag(req.ETag), Metadata: req.Metadata,
		Options: options(req.Concurrency, req.Consistency), ContentType: req.Metadata["contentType"]}
}

func deleteRequest(req *state.DeleteRequest) *componentsv1.DeleteRequest {
	return &componentsv1.DeleteRequest{Key: req.Key, Etag: etag(req.ETag), Metadata: req.Metadata, Options: options(req.Concurrency, req.Consistency)}
}

func etag(tag *string) *componentsv1.Etag {
	if tag == nil {
		return nil
	}
	return &componentsv1.Etag{Value: *tag}
}

func options(concurrency state.Concurrency, c state.Consistency) *componentsv1.StateOptions {
	o := &componentsv1.StateOptions{Consistency: consistency(c)}
	switch concurrency {
	case state.FirstWrite:
		o.Concurrency = componentsv1.StateOptions_CONCURRENCY_FIRST_WRITE
	case state.LastWrite:
		o.Concurrency = componentsv1.StateOptions_CONCURRENCY_LAST_WRITE
	}
	return o
}

func consistency(c state.Consistency) componentsv1.StateOptions_StateConsistency {
	switch c {
	case state.Strong:
		return componentsv1.StateOptions_CONSISTENCY_STRONG
	case state.Eventual:
		return componentsv1.StateOptions_CONSISTENCY_EVENTUAL
	}
	return componentsv1.StateOptions_CONSISTENCY_UNSPECIFIED
}

func queryRequest(query *state.Query) (*componentsv1.Query, error) {
	request := &componentsv1.Query{Pagination: &componentsv1.Pagination{Limit: int64(query.Limit), Token: query.Token}}
	for _, s := range query.Sort {
		order := componentsv1.Sorting_ASC
		if s.Descending {
			order = componentsv1.Sorting_DESC
		}
		request.Sort = append(request.Sort, &componentsv1.Sorting{Key: s.Path, Order: order})
	}
	if query.Filter == nil {
		return request, nil
	}
	request.Filter = map[string]*anypb.Any{}
	for operator, operand := range filterObject(query.Filter) {
		value, err := structpb.NewValue(operand)
		if err != nil {
			return nil, err
		}
		if request.Filter[operator], err = anypb.New(value); err != nil {
			return nil, err
		}
	}
	return request, nil
}

// filterObject is a filter as the API's JSON has it.
func filterObject(filter state.Filter) map[string]any {
	switch f := filter.(type) {
	case *state.Comparison:
		values := make([]any, len(f.Values))
		for i, value := range f.Values {
			if number, ok := value.(json.Number); ok {
				value, _ = number.Float64()
			}
			values[i] = value
		}
		if f.Operator == state.OperatorIn {
			return map[string]any{f.Operator: map[string]any{f.Path: values}}
		}
		return map[string]any{f.Operator: map[string]any{f.Path: values[0]}}
	case *state.Combination:
		parts := make([]any, len(f.Filters))
		for i, part := range f.Filters {
			parts[i] = filterObject(part)
		}
		return map[string]any{f.Operator: parts}
	}
	return nil
}
