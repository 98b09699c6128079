package sqlfront

import (
	"errors"

	"github.com/tidemill/tidemill/stream"
)

// Value reads text as the value of an option, with the same forms and bounds as in a WITH clause, so that flags of
// the command line take '64 MiB' and '1 day' too. The error is the reason alone, such as "is not a duration".
func Value(f stream.Field, text string) (any, error) {
	v, reason := fieldValue(f, text)
	if reason != "" {
		return nil, errors.New(reason)
	}
	return v, nil
}
