package engine_test

import (
	"fmt"
	"github.com/stretchr/testify/require"
	"github.com/tidemill/tidemill/internal/vfs"
	"testing"
	"time"
)

func TestTry(t *testing.T) {
	p := newParser(t)
	for _, pl := range plots() {
		l := newLife(t, p, pl)
		f := vfs.NewFault(l.disk)
		l.disk = f
		b := time.Now()
		require.NoError(t, l.run())
		fmt.Println(pl.name, time.Since(b), f.Calls())
		fmt.Println(l.held())
	}
}
