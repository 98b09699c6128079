package stream

import (
	"encoding/json"
	"fmt"
	"io"
)

// SecretValue is the value of a Secret option. Whatever prints, formats, logs or marshals it gets the reference that
// the user wrote, such as env:NATS_TOKEN, never the value.
type SecretValue struct {
	ref, value string
}

// NewSecret returns a secret with the reference that stands for it and its value.
func NewSecret(ref, value string) SecretValue { return SecretValue{ref: ref, value: value} }

// Reveal returns the value.
func (s SecretValue) Reveal() string { return s.value }

// String returns the reference.
func (s SecretValue) String() string { return s.ref }

// Format prints the reference, whatever the verb.
func (s SecretValue) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.ref) }

// MarshalJSON returns the reference as JSON text.
func (s SecretValue) MarshalJSON() ([]byte, error) { return json.Marshal(s.ref) }
