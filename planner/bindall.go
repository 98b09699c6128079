package planner

import (
	"context"
	"errors"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
)

// BindFaults returns all that DuckDB refuses of a SELECT, which it tells one at a time; none if nothing is wrong but what
// follows from the definitions that are lost. Positions are offsets in sql. db.Describe may put the SELECT into another
// statement, as long as it gives the positions of faults in the SELECT alone. The error is that of a SELECT which does
// not parse, or of the world.
func BindFaults(ctx context.Context, db Binder, sql string, lost []string) ([]*duck.Error, error) {
	app := &App{Text: &diag.Text{Body: sql}, Lost: lost}
	q := &Query{Body: sql}
	_, err := attempted(ctx, app, q, db, func(m *mending) (*Plan, error) {
		return nil, newCompiler(ctx, app, q, db, m).bindAlone()
	})
	if plain := plainFault(err); plain != nil {
		return nil, plain
	}
	var all []*duck.Error
	for _, f := range diag.All(err) {
		var one *duck.Error
		if errors.As(f.Err, &one) {
			all = append(all, one)
		}
	}
	return all, nil
}

// bindAlone binds the body as DuckDB does, with nothing of the application's in it.
func (c *compiler) bindAlone() (err error) {
	node, err := c.template(c.q.Body)
	if err != nil {
		return err
	}
	if c.mended != nil {
		const drop = "DROP TABLE IF EXISTS temp.main." + unknownTable
		if _, err := c.db.Exec(c.ctx, unknownTableSQL); err != nil {
			return err
		}
		defer func() {
			_, dropErr := c.db.Exec(context.WithoutCancel(c.ctx), drop)
			err = errors.Join(err, dropErr)
		}()
		if c.cat, err = catalogueOf(c.ctx, c.db, nil); err != nil {
			return err
		}
		if err := c.mended.apply(c, node); err != nil {
			return err
		}
	}
	_, err = c.bindBody(node)
	return err
}
