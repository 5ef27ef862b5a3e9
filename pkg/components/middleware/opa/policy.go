package opa

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// policy is a compiled module, ready to be asked. It may be asked by many goroutines at once.
type policy struct {
	compiler *ast.Compiler
	query    ast.Body
	store    storage.Store
}

// answer is the variable of the query that holds what the policy says.
const answer = "x"

// compile reads a module in the syntax of Rego v1 or, since Dapr's users have them, in that before it.
func compile(ctx context.Context, text string) (*policy, error) {
	module, err := ast.ParseModuleWithOpts("rego", text, ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		older, olderErr := ast.ParseModuleWithOpts("rego", text, ast.ParserOptions{RegoVersion: ast.RegoV0})
		if olderErr != nil {
			return nil, fmt.Errorf("the policy cannot be read: %w", err)
		}
		module = older
	}
	if module == nil || module.Package.Path.String() != "data.http" {
		return nil, errors.New("the policy is not of the package http: want \"package http\" and a rule allow")
	}
	compiler := ast.NewCompiler()
	if compiler.Compile(map[string]*ast.Module{"rego": module}); compiler.Failed() {
		return nil, fmt.Errorf("the policy cannot be compiled: %w", compiler.Errors)
	}
	if len(compiler.GetRules(ast.MustParseRef("data.http.allow"))) == 0 {
		return nil, errors.New("the policy has no rule allow")
	}
	body, err := ast.ParseBody(answer + " = data.http.allow")
	if err != nil {
		return nil, err
	}
	query, err := compiler.QueryCompiler().Compile(body)
	if err != nil {
		return nil, err
	}
	return &policy{compiler: compiler, query: query, store: inmem.New()}, ctx.Err()
}

// decision is what a policy says.
type decision struct {
	allow bool
	// status is 0 where the policy names none.
	status  int
	headers map[string]string
}

// decide evaluates the policy. What it leaves undefined it does not allow.
func (p *policy) decide(ctx context.Context, input map[string]any) (decision, error) {
	value, err := ast.InterfaceToValue(input)
	if err != nil {
		return decision{}, err
	}
	transaction, err := p.store.NewTransaction(ctx)
	if err != nil {
		return decision{}, err
	}
	defer p.store.Abort(ctx, transaction)
	cancel := topdown.NewCancel()
	defer context.AfterFunc(ctx, cancel.Cancel)()
	results, err := topdown.NewQuery(p.query).WithCompiler(p.compiler).WithStore(p.store).WithTransaction(transaction).
		WithInput(ast.NewTerm(value)).WithCancel(cancel).Run(ctx)
	if err != nil || len(results) == 0 {
		return decision{}, err
	}
	said, err := ast.JSON(results[0][ast.Var(answer)].Value)
	if err != nil {
		return decision{}, err
	}
	return read(said)
}

// read understands true, false, and {"allow", "status_code", "additional_headers"}.
func read(said any) (decision, error) {
	switch said := said.(type) {
	case bool:
		return decision{allow: said}, nil
	case map[string]any:
		return readObject(said)
	}
	return decision{}, fmt.Errorf("the policy's allow is %T: want true, false, or an object with allow, status_code and additional_headers", said)
}

func readObject(said map[string]any) (decision, error) {
	var d decision
	if allow, ok := said["allow"]; ok {
		if d.allow, ok = allow.(bool); !ok {
			return decision{}, errors.New("the policy's allow.allow is neither true nor false")
		}
	}
	if status, ok := said["status_code"]; ok {
		number, ok := status.(interface{ Int64() (int64, error) })
		if !ok {
			return decision{}, errors.New("the policy's allow.status_code is no number")
		}
		n, err := number.Int64()
		if err != nil || n < 100 || n > 599 {
			return decision{}, errors.New("the policy's allow.status_code is no HTTP status")
		}
		d.status = int(n)
	}
	if headers, ok := said["additional_headers"]; ok {
		pairs, ok := headers.(map[string]any)
		if !ok {
			return decision{}, errors.New("the policy's allow.additional_headers is no object")
		}
		d.headers = make(map[string]string, len(pairs))
		for name, value := range pairs {
			if d.headers[name], ok = value.(string); !ok {
				return decision{}, fmt.Errorf("the policy's allow.additional_headers.%s is no text", name)
			}
		}
	}
	return d, nil
}
