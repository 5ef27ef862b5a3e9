package resiliency

import (
	"errors"
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/sony/gobreaker/v2"
)

// tripCost bounds the work of one evaluation: an expression over five numbers needs a few dozen steps.
const tripCost = 10_000

// trip says whether a breaker has seen enough.
type trip func(gobreaker.Counts) bool

// newTrip compiles an expression; an empty one is Dapr's default.
func newTrip(text string) (trip, error) {
	if text == "" {
		return func(c gobreaker.Counts) bool { return c.ConsecutiveFailures > 5 }, nil
	}
	env, err := cel.NewEnv(
		cel.CrossTypeNumericComparisons(true),
		cel.Variable("requests", cel.IntType), cel.Variable("totalSuccesses", cel.IntType), cel.Variable("totalFailures", cel.IntType),
		cel.Variable("consecutiveSuccesses", cel.IntType), cel.Variable("consecutiveFailures", cel.IntType),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare CEL: %w", err)
	}
	ast, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("want a CEL expression over requests, totalSuccesses, totalFailures, consecutiveSuccesses and consecutiveFailures: column %d: %s",
			first.Location.Column()+1, first.Message)
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("the expression gives %s, want bool", ast.OutputType())
	}
	program, err := env.Program(ast, cel.CostLimit(tripCost))
	if err != nil {
		return nil, err
	}
	return tested(program)
}

// tested refuses an expression that fails for counts of which none is 0. One that fails later, by a division through
// a count that is 0, does not trip.
func tested(program cel.Program) (trip, error) {
	eval := func(c gobreaker.Counts) (bool, error) {
		out, _, err := program.Eval(map[string]any{
			"requests": int64(c.Requests), "totalSuccesses": int64(c.TotalSuccesses), "totalFailures": int64(c.TotalFailures),
			"consecutiveSuccesses": int64(c.ConsecutiveSuccesses), "consecutiveFailures": int64(c.ConsecutiveFailures),
		})
		if err != nil {
			return false, err
		}
		tripped, ok := out.Value().(bool)
		if !ok {
			return false, errors.New("the expression gives no bool")
		}
		return tripped, nil
	}
	one := gobreaker.Counts{Requests: 2, TotalSuccesses: 1, TotalFailures: 1, ConsecutiveSuccesses: 1, ConsecutiveFailures: 1}
	if _, err := eval(one); err != nil {
		return nil, err
	}
	return func(c gobreaker.Counts) bool {
		tripped, err := eval(c)
		return err == nil && tripped
	}, nil
}
