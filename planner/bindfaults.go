package planner

import (
	"maps"

	"github.com/tidemill/tidemill/internal/duck"
)

// sqlOf is what DuckDB binds of a query: its text as it stands, or its tree where the text is mended.
func (c *compiler) sqlOf(node tree, body string) (string, error) {
	if c.mended == nil {
		return body, nil
	}
	return c.render(node)
}

// bindFault returns the fault of a body that DuckDB does not bind. sql is what sqlOf gave for its node.
func (c *compiler) bindFault(err error, node tree, sql string, body string, at int) error {
	de := asDuckError(err)
	if de == nil {
		return c.bodyFault(err, body, at)
	}
	placed := *de
	switch {
	case de.Position < 0:
		placed.Position = c.culprit(node, de.Message) - at
	case sql != body:
		placed.Position = c.original(node, sql, de.Position) - at
	}
	if placed.Position < 0 || placed.Position > len(body) {
		placed.Position = -1
	}
	return c.bodyFault(&placed, body, at)
}

// original returns the place in the text of what stands at a position of a rendered tree, or -1.
func (c *compiler) original(node tree, sql string, position int) int {
	rendered, err := c.template(sql)
	if err != nil {
		return -1
	}
	found := -1
	var visit func(a, b any)
	visit = func(a, b any) {
		switch a := a.(type) {
		case tree:
			b := asTree(b)
			if b.at() == position && found < 0 {
				found = a.at()
			}
			for _, k := range sortedKeys(a) {
				visit(a[k], b[k])
			}
		case []any:
			list, _ := b.([]any)
			for i := range min(len(a), len(list)) {
				visit(a[i], list[i])
			}
		}
	}
	visit(node, rendered)
	return found
}

// culprit returns the place of the smallest expression without which DuckDB no longer says the message, which it gives
// no place; -1 if none is found.
func (c *compiler) culprit(node tree, message string) int {
	root, place := clone(node), -1
	null, err := c.null()
	if err != nil {
		return place
	}
	for list := expressions(root); len(list) > 0; {
		one := c.halve(root, list, null, message)
		if one == nil {
			break
		}
		if at := firstAt(one); at >= 0 {
			place = at
		}
		if at := one.at(); at >= 0 {
			place = at
		}
		list = expressions(one)
	}
	return place
}

// halve finds the expression of a list that causes the message by leaving out half of them, and half of those again.
func (c *compiler) halve(root tree, list []tree, null tree, message string) tree {
	for {
		half := list[:(len(list)+1)/2]
		switch without := c.without(root, half, null, message); {
		case without && len(list) == 1:
			return list[0]
		case without:
			list = half
		case len(list) == 1:
			return nil
		default:
			list = list[len(half):]
		}
	}
}

// without reports whether DuckDB says another thing, or nothing, where NULL stands for the expressions.
func (c *compiler) without(root tree, list []tree, null tree, message string) bool {
	kept := make([]tree, len(list))
	for i, e := range list {
		kept[i] = maps.Clone(e)
		clear(e)
		maps.Copy(e, clone(null))
		e["alias"] = kept[i].str("alias")
	}
	defer func() {
		for i, e := range list {
			clear(e)
			maps.Copy(e, kept[i])
		}
	}()
	sql, err := c.render(root)
	if err != nil {
		return false
	}
	_, err = c.db.Describe(c.ctx, sql)
	de := asDuckError(err)
	return err == nil || de != nil && de.Kind != duck.Interrupt && de.Message != message
}
