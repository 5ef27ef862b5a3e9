package config

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// ParseQuantity reads a size as Kubernetes writes it: a decimal number and one of Ki Mi Gi Ti Pi Ei (powers
// of 1024), n u m k M G T P E (powers of 1000) or an exponent (e3), or nothing for bytes. The result is in
// bytes; fractions are rounded away from zero. It is Kubernetes' format without its package, which would add
// more than a megabyte to the binary.
func ParseQuantity(text string) (int64, error) {
	parts := regexp.MustCompile(`^([+-]?)([0-9]{0,40})\.?([0-9]{0,40})(|[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})$`).FindStringSubmatch(text)
	if parts == nil || parts[2]+parts[3] == "" {
		return 0, fmt.Errorf("%q is no size; write a number with Ki, Mi, Gi (powers of 1024) or k, M, G (powers of 1000), 4Mi for one", text)
	}
	value, _ := new(big.Int).SetString(parts[2]+parts[3], 10)
	base, exponent := unit(parts[4])
	value.Mul(value, power(base, exponent))
	divisor := power(10, len(parts[3]))
	divisor.Mul(divisor, power(base, -exponent))
	if _, rest := value.QuoRem(value, divisor, new(big.Int)); rest.Sign() != 0 {
		value.Add(value, big.NewInt(1))
	}
	if parts[1] == "-" {
		value.Neg(value)
	}
	if !value.IsInt64() {
		return 0, fmt.Errorf("%q is too large a size; 8Ei less one byte is the most", text)
	}
	return value.Int64(), nil
}

// unit is what a suffix multiplies by: base to the exponent.
func unit(suffix string) (base int64, exponent int) {
	switch suffix {
	case "":
		return 10, 0
	case "n":
		return 10, -9
	case "u":
		return 10, -6
	case "m":
		return 10, -3
	}
	if i := strings.IndexByte("KMGTPE", suffix[0]); strings.HasSuffix(suffix, "i") {
		return 2, 10 * (i + 1)
	}
	if i := strings.IndexByte("kMGTPE", suffix[0]); len(suffix) == 1 {
		return 10, 3 * (i + 1)
	}
	exponent, _ = strconv.Atoi(suffix[1:])
	return 10, exponent
}

// power is 1 for a negative exponent.
func power(base int64, exponent int) *big.Int {
	if exponent < 0 {
		return big.NewInt(1)
	}
	return new(big.Int).Exp(big.NewInt(base), big.NewInt(int64(exponent)), nil)
}
