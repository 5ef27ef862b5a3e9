package channel

import "errors"

var errNotYet = errors.New("not implemented")
