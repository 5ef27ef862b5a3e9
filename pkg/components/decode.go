package components

import (
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Decode reads the properties of spec into the struct that into points to. Fields are named by tags:
//
//	Host    string        `metadata:"redisHost,required" default:"localhost:6379" aliases:"host"`
//	Timeout time.Duration `metadata:"timeout,milliseconds"`
//	Key     string        `metadata:"clientKey,secret"`
//	Cert    string        `metadata:"clientCert,pem"`
//	Mode    string        `metadata:"mode" oneof:"fast,safe"`
//
// Names match in any case. Embedded structs are read too. A field keeps the value it has where neither a
// property nor a default is there; a default fills zero values only. A property that is empty counts as
// absent, save for a text. Durations are Go durations, or whole numbers of the unit that the tag names
// (milliseconds, seconds; without one, seconds).
//
// A missing required field and an unusable value are errors that name the field and what it takes; values
// of fields tagged secret or pem stand in no error. An unknown property is one warning that names the
// nearest known one. The caller adds the name of the component to the error.
func Decode(spec *Spec, into any) error {
	fields := collect(reflect.ValueOf(into).Elem())
	var errs []error
	for i := range fields {
		if err := fields[i].fill(spec); err != nil {
			errs = append(errs, err)
		}
	}
	warnUnknown(spec, fields)
	return inOneLine(errs)
}

// inOneLine joins errors for one line of the log.
func inOneLine(errs []error) error {
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	format := strings.Repeat("; %w", len(errs))[2:]
	args := make([]any, len(errs))
	for i := range errs {
		args[i] = errs[i]
	}
	return fmt.Errorf(format, args...)
}

// Has says whether the manifest names a property, in any case.
func (s *Spec) Has(name string) bool {
	_, ok := s.property(name)
	return ok
}

func (s *Spec) property(name string) (value string, ok bool) {
	if value, ok = s.Properties[name]; ok {
		return value, true
	}
	found := ""
	for n := range s.Properties {
		if strings.EqualFold(n, name) && (!ok || n < found) {
			found, ok = n, true
		}
	}
	return s.Properties[found], ok
}

// withholds says whether one of the names is that of a value which is not shown.
func (s *Spec) withholds(names []string) bool {
	return slices.ContainsFunc(s.Withheld, func(withheld string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, withheld) })
	})
}

// field is one tagged field of a settings struct.
type field struct {
	value    reflect.Value
	names    []string // the first is the one in texts
	required bool
	secret   bool
	pem      bool
	unit     time.Duration
	standard string
	oneof    []string
}

func collect(v reflect.Value) (fields []field) {
	for i := range v.NumField() {
		t := v.Type().Field(i)
		if t.Anonymous && t.Type.Kind() == reflect.Struct {
			fields = append(fields, collect(v.Field(i))...)
			continue
		}
		tag, ok := t.Tag.Lookup("metadata")
		if !ok {
			continue
		}
		parts := strings.Split(tag, ",")
		f := field{value: v.Field(i), names: parts[:1], unit: time.Second, standard: t.Tag.Get("default")}
		if aliases := t.Tag.Get("aliases"); aliases != "" {
			f.names = append(slices.Clip(f.names), strings.Split(aliases, ",")...)
		}
		if oneof := t.Tag.Get("oneof"); oneof != "" {
			f.oneof = strings.Split(oneof, ",")
		}
		for _, option := range parts[1:] {
			switch option {
			case "required":
				f.required = true
			case "secret":
				f.secret = true
			case "pem":
				f.pem, f.secret = true, true
			case "milliseconds":
				f.unit = time.Millisecond
			}
		}
		fields = append(fields, f)
	}
	return fields
}

func (f *field) fill(spec *Spec) error {
	text, given := "", false
	for _, name := range f.names {
		if text, given = spec.property(name); given {
			break
		}
	}
	if f.required && strings.TrimSpace(text) == "" && f.standard == "" {
		return fmt.Errorf("metadata property %s is missing: want %s", f.names[0], f.wanted())
	}
	if !given || (text == "" && f.value.Kind() != reflect.String) {
		if f.standard == "" || !f.value.IsZero() {
			return nil
		}
		text = f.standard
	}
	if err := f.set(text); err != nil {
		shown := strconv.Quote(text)
		if f.secret || spec.withholds(f.names) {
			shown = "the value (not shown)"
		}
		return fmt.Errorf("metadata property %s: %s is not usable: want %s", f.names[0], shown, f.wanted())
	}
	return nil
}

// errUnusable stands for a value that no parser of the standard library judged.
var errUnusable = errors.New("unusable")

func (f *field) set(text string) error {
	v := f.value
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := f.duration(strings.TrimSpace(text))
		v.SetInt(int64(d))
		return err
	}
	switch v.Kind() {
	case reflect.String:
		return f.setText(v, text)
	case reflect.Bool:
		b, err := truth(text)
		v.SetBool(b)
		return err
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, v.Type().Bits())
		v.SetInt(n)
		return err
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, v.Type().Bits())
		v.SetUint(n)
		return err
	case reflect.Float64:
		n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if math.IsNaN(n) || math.IsInf(n, 0) {
			return errUnusable
		}
		v.SetFloat(n)
		return err
	case reflect.Slice:
		var list []string
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		v.Set(reflect.ValueOf(list))
		return nil
	}
	panic("components: no decoding for " + v.Type().String())
}

func (f *field) setText(v reflect.Value, text string) error {
	if len(f.oneof) > 0 {
		i := slices.IndexFunc(f.oneof, func(known string) bool { return strings.EqualFold(known, text) })
		if i < 0 {
			return errUnusable
		}
		text = f.oneof[i]
	}
	if block, _ := pem.Decode([]byte(text)); f.pem && text != "" && block == nil {
		return errUnusable
	}
	v.SetString(text)
	return nil
}

func (f *field) duration(text string) (time.Duration, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if most := int64(math.MaxInt64 / f.unit); n > most || n < -most {
			return 0, errUnusable
		}
		return time.Duration(n) * f.unit, nil
	}
	return time.ParseDuration(text)
}

// truth reads what Dapr takes for true; everything else that looks like false is false.
func truth(text string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "y", "yes", "true", "t", "on", "1":
		return true, nil
	case "n", "no", "false", "f", "off", "0", "":
		return false, nil
	}
	return false, errUnusable
}

// wanted says what the field takes.
func (f *field) wanted() string {
	t := f.value.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[time.Duration]() {
		unit := "seconds"
		if f.unit == time.Millisecond {
			unit = "milliseconds"
		}
		return "a duration like 500ms or 2m, or a whole number of " + unit
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint16:
		return "a whole number from 0 to 65535"
	case reflect.Uint32, reflect.Uint64:
		return "a whole number, not negative"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list separated by commas"
	}
	switch {
	case len(f.oneof) > 0:
		return "one of " + strings.Join(f.oneof, ", ")
	case f.pem:
		return "a PEM text (-----BEGIN …)"
	}
	return "a text"
}
