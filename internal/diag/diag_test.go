package diag_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
)

func TestAllFaultsOfATreeShow(t *testing.T) {
	t.Parallel()
	a, b, c := diag.New(diag.Usage, "a"), diag.New(diag.BadTime, "b"), diag.New(diag.BadType, "c")
	cause := diag.Wrap(diag.SinkFailed, a, "outermost")
	err := errors.Join(errors.New("plain"), fmt.Errorf("open: %w", diag.List{b, c}), cause)
	require.Equal(t, diag.List{b, c, cause}, diag.All(err))
	require.Equal(t, diag.BadTime, diag.CodeOf(err))
	require.Nil(t, diag.All(errors.New("plain")))
	require.Nil(t, diag.All(nil))
}

func TestRenderPutsTheCaretsUnderTheSpan(t *testing.T) {
	t.Parallel()
	text := &diag.Text{Name: "a.sql", Body: "SELECT 1;\n\tSELECT \"naïve\", amout FROM t\r\nx"}
	start := len("SELECT 1;\n\tSELECT \"naïve\", ")
	err := diag.New(diag.UnknownColumn, "column %q does not exist", "amout").
		At(text, diag.Span{Start: start, End: start + len("amout")}).
		WithLabel("did you mean %q?", "amount").WithNote("there is: amount").WithHint("write it right")
	require.Equal(t, `error[UNKNOWN_COLUMN]: column "amout" does not exist
  --> a.sql:2:18
   |
 2 |  SELECT "naïve", amout FROM t
   |                  ^^^^^ did you mean "amount"?
   = there is: amount
   = fix: write it right`, err.Render())
	require.Equal(t, `a.sql:2:18: UNKNOWN_COLUMN: column "amout" does not exist`, err.Error())
}

func TestExcerptMovesNoCursor(t *testing.T) {
	t.Parallel()
	text := &diag.Text{Name: "a.sql", Body: "SELECT '\x1b[31m\a\u202e', x"}
	start := len(text.Body) - 1
	require.Equal(t, `error[USAGE]: m
  --> a.sql:1:19
   |
 1 | SELECT '·[31m··', x
   |                   ^`, diag.New(diag.Usage, "m").At(text, diag.Span{Start: start, End: start + 1}).Render())
}

func TestSpansOutsideTheTextDoNotPanic(t *testing.T) {
	t.Parallel()
	text := &diag.Text{Name: "a.sql", Body: "x\ny"}
	for _, span := range []diag.Span{{-5, -1}, {99, 120}, {3, 3}, {1, 3}, {2, 0}} {
		require.NotEmpty(t, diag.New(diag.Usage, "m").At(text, span).Render())
	}
}

func TestLongLinesAreClippedAroundTheSpan(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 100_000) + " wrong " + strings.Repeat("y", 100_000)
	err := diag.New(diag.Usage, "m").At(&diag.Text{Name: "a.sql", Body: body}, diag.Span{Start: 100_001, End: 100_006})
	got := err.Render()
	require.Less(t, len(got), 600)
	lines := strings.Split(got, "\n")
	require.Equal(t, strings.Index(lines[3], "wrong"), strings.Index(lines[4], "^^^^^")+len("…")-1, got)
}

func TestErrorsAreFoundInChains(t *testing.T) {
	t.Parallel()
	inner := diag.New(diag.DataLoss, "gone")
	wrapped := fmt.Errorf("read: %w", diag.Retry(fmt.Errorf("ask: %w", inner)))
	require.Equal(t, diag.DataLoss, diag.CodeOf(wrapped))
	require.True(t, diag.Temporary(wrapped))
	require.False(t, diag.Temporary(inner))
	require.Equal(t, diag.ExitState, diag.ExitOf(wrapped))
	require.Equal(t, diag.ExitFailed, diag.ExitOf(errors.New("plain")))
	require.Equal(t, diag.ExitOK, diag.ExitOf(nil))

	list := diag.List{diag.New(diag.Usage, "b").At(&diag.Text{}, diag.Span{Start: 9}), diag.New(diag.BadCron, "a").At(&diag.Text{}, diag.Span{})}
	list.Sort()
	require.Equal(t, diag.BadCron, list[0].Code)
	require.Len(t, diag.All(fmt.Errorf("lint: %w", list.Err())), 2)
	require.NoError(t, diag.List{}.Err())
}

func TestNear(t *testing.T) {
	t.Parallel()
	names := []string{"amount", "account", "id"}
	require.Equal(t, "amount", diag.Near("amout", names))
	require.Equal(t, "id", diag.Near("ix", names))
	require.Empty(t, diag.Near("customer", names))
	require.Empty(t, diag.Near("", nil))
}
