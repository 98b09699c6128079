package planner

import (
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
)

// overPast refuses.
func (c *compiler) overPast(node tree, s *scope, p *part, calls []tree) (tree, *relation, error) {
	t := calls[0]
	return nil, nil, c.errAt(diag.ShapeUnsupported, t,
		"%s OVER (...) can not be used in output mode append: rows to come may change it",
		strings.ToLower(t.str("function_name"))).
		WithHint("PARTITION BY a window of tumble() or hop(), or use OUTPUT MODE UPDATE")
}
