package duck

// #include <stdlib.h>
// #include "arrow_read.h"
import "C"

import (
	"context"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
)

// prepared is a statement with its plan.
type prepared struct {
	c      unsafe.Pointer
	schema *arrow.Schema // of the result as DuckDB gives it, known once it has run
	want   *arrow.Schema // as the caller asked for it
}

// preparedMax is how many plans a connection keeps. A caller that has more texts than that gains nothing.
const preparedMax = 32

// QueryAgain does what Query does with a plan that is made when a text comes for the first time and kept: parsing,
// binding and planning are most of what a statement over a few rows costs. The plan takes what it was made with for
// granted, such as a table that was empty or the value of a variable, so the statement must read nothing but feeds,
// of which DuckDB knows nothing beforehand.
func (c *Conn) QueryAgain(ctx context.Context, with []string, sql string, cols []Column) (*Table, error) {
	text, schema, err := queryStatement(with, sql, cols)
	if err != nil {
		return nil, err
	}
	if _, err := c.begin(ctx, text, nil); err != nil {
		return nil, err
	}
	p := c.kept[text]
	if p == nil {
		if p, err = c.prepare(ctx, text, schema); err != nil {
			return nil, err
		}
		c.keep(text, p)
	}
	c.db.trace(text)
	t, err := c.gather(ctx, text, p)
	if err != nil { // whatever state the plan is in now
		delete(c.kept, text)
		p.close()
	}
	return t, err
}

// prepare plans a statement, which the caller closes.
func (c *Conn) prepare(ctx context.Context, text string, want *arrow.Schema) (*prepared, error) {
	sql := C.CString(text)
	defer C.free(unsafe.Pointer(sql))
	r := newReader()
	defer r.close()
	p := &prepared{want: want}
	done := c.interruptible(ctx)
	err := r.failed(C.tidemill_prepare(C.uintptr_t(c.raw), sql, r.c, &p.c))
	done()
	if err != nil {
		p.close()
		return nil, fault(ctx, err, text, 0)
	}
	return p, nil
}

func (c *Conn) keep(text string, p *prepared) {
	if len(c.kept) >= preparedMax {
		c.forget()
	}
	if c.kept == nil {
		c.kept = map[string]*prepared{}
	}
	c.kept[text] = p
}

// read begins to run the statement. The caller closes the reader, before anything else is done with the connection, and holds
// what next gives apart from it.
func (p *prepared) read() (*recordReader, error) {
	r := newReader()
	err := r.failed(C.tidemill_read_open(p.c, r.c))
	if err == nil && p.schema == nil {
		p.schema, err = r.describe()
	}
	if err != nil {
		r.close()
		return nil, err
	}
	r.schema = p.schema
	return r, nil
}

func (p *prepared) close() { C.tidemill_unprepare(&p.c) }

// forget drops all plans that are kept.
func (c *Conn) forget() {
	for text, p := range c.kept {
		p.close()
		delete(c.kept, text)
	}
}
