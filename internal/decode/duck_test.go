package decode

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
)

// TestSameAsDuckDB decodes well-formed random values and compares each with what DuckDB makes of its text.
func TestSameAsDuckDB(t *testing.T) {
	t.Parallel()
	conn := ducktest.Conn(t, duck.Options{Threads: 1})
	rng := rand.New(rand.NewPCG(7, 8))
	for _, c := range []struct {
		sql  string
		make func(*rand.Rand) string // JSON text
		cast string                  // how DuckDB reads the text x, whose JSON is j
	}{
		{"BIGINT", func(r *rand.Rand) string { return strconv.FormatInt(int64(r.Uint64())>>r.IntN(64), 10) }, "x::BIGINT"},
		{"UBIGINT", func(r *rand.Rand) string { return strconv.FormatUint(r.Uint64()>>r.IntN(64), 10) }, "x::UBIGINT"},
		{"HUGEINT", func(r *rand.Rand) string { return randomDigits(r, 1+r.IntN(37)) }, "x::HUGEINT"},
		{"DECIMAL(38,9)", func(r *rand.Rand) string { return randomDigits(r, 1+r.IntN(29)) + "." + digits(r, 1+r.IntN(9)) }, "x::DECIMAL(38,9)"},
		{"DOUBLE", randomFloat, "x::DOUBLE"}, {"FLOAT", randomSmallFloat, "x::FLOAT"},
		{"BOOLEAN", func(r *rand.Rand) string { return []string{"true", "false"}[r.IntN(2)] }, "x::BOOLEAN"},
		{"DATE", func(r *rand.Rand) string { return quote(randomDate(r)) }, "x::DATE"},
		{"TIME", func(r *rand.Rand) string { return quote(randomClock(r)) }, "x::TIME"},
		{"TIMESTAMP", randomTimestamp, "x::TIMESTAMP"},
		{"UUID", func(r *rand.Rand) string {
			return quote(fmt.Sprintf("%08X-0000-4000-8000-%012x", r.Uint32(), r.Uint64()>>16))
		}, "x::UUID"},
		{"BLOB", func(r *rand.Rand) string {
			return quote(base64.StdEncoding.EncodeToString([]byte(digits(r, r.IntN(9)))))
		}, "from_base64(x)"},
		{"VARCHAR", randomString, "json_extract_string(j, '$.v')"},
		{"BIGINT[]", func(r *rand.Rand) string { return randomList(r, "null", "12", "-3") }, `from_json(j, '{"v":["BIGINT"]}').v`},
		{"VARCHAR[][]", func(r *rand.Rand) string {
			return "[" + randomList(r, randomString(r), "null") + "," + randomList(r, `"q"`) + "]"
		}, `from_json(j, '{"v":[["VARCHAR"]]}').v`},
		{"STRUCT(a BIGINT, \"b c\" VARCHAR[])", func(r *rand.Rand) string {
			return fmt.Sprintf(`{"z":%s,"b c":%s,"a":%d}`, randomString(r), randomList(r, randomString(r)), r.IntN(9))
		}, `from_json(j, '{"v":{"a":"BIGINT","b c":["VARCHAR"]}}').v`},
	} {
		t.Run(c.sql, func(t *testing.T) {
			var payloads, texts []string
			for range 2000 {
				js := c.make(rng)
				text := js
				if strings.HasPrefix(js, `"`) {
					require.NoError(t, json.Unmarshal([]byte(js), &text), js)
				}
				object := `{"v":` + js + `}`
				payloads = append(payloads, object)
				texts = append(texts, fmt.Sprintf("(%s, %s)", duck.QuoteLiteral(text), duck.QuoteLiteral(object)))
			}
			d := decoder(t, Options{}, "v", c.sql)
			got, err := d.Decode(messages(payloads...))
			require.NoError(t, err)
			defer got.Release()
			require.Empty(t, got.Bad)
			want, err := conn.Select(t.Context(), "SELECT "+c.cast+" AS v FROM (VALUES "+strings.Join(texts, ", ")+") AS t(x, j)")
			require.NoError(t, err)
			defer want.Release()
			at := 0
			for _, rec := range want.Records {
				n := int(rec.NumRows())
				part := got.Rows.NewSlice(int64(at), int64(at+n))
				for i := range n {
					require.Equal(t, rec.Column(0).ValueStr(i), part.Column(0).ValueStr(i), payloads[at+i])
				}
				require.True(t, c.sql[0] == 'S' || array.Equal(rec.Column(0), part.Column(0)), "bits differ")
				part.Release()
				at += n
			}
			require.Equal(t, len(payloads), at)
		})
	}
}

func quote(s string) string { return `"` + s + `"` }

func digits(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '0' + byte(r.IntN(10))
	}
	return string(b)
}

func randomDigits(r *rand.Rand, n int) string {
	sign := []string{"", "-"}[r.IntN(2)]
	return sign + string('1'+byte(r.IntN(9))) + digits(r, n-1)
}

func randomFloat(r *rand.Rand) string {
	switch r.IntN(3) {
	case 0:
		for {
			if f := math.Float64frombits(r.Uint64()); !math.IsNaN(f) && !math.IsInf(f, 0) {
				return strconv.FormatFloat(f, 'g', -1, 64)
			}
		}
	case 1:
		return randomDigits(r, 1+r.IntN(25)) + "." + digits(r, 1+r.IntN(25)) + "e" + strconv.Itoa(r.IntN(60)-30)
	}
	return randomDigits(r, 1+r.IntN(6)) + "." + digits(r, 1+r.IntN(3))
}

func randomSmallFloat(r *rand.Rand) string {
	return randomDigits(r, 1+r.IntN(9)) + "." + digits(r, 1+r.IntN(9)) + "e" + strconv.Itoa(r.IntN(40)-20)
}

func randomDate(r *rand.Rand) string {
	return fmt.Sprintf("%04d-%02d-%02d", 1+r.IntN(9999), 1+r.IntN(12), 1+r.IntN(28))
}

func randomClock(r *rand.Rand) string {
	s := fmt.Sprintf("%02d:%02d:%02d", r.IntN(24), r.IntN(60), r.IntN(60))
	if n := r.IntN(7); n > 0 {
		s += "." + digits(r, n)
	}
	return s
}

func randomTimestamp(r *rand.Rand) string {
	zone := []string{"", "Z", "+02:00", "-05:30", "+01"}[r.IntN(5)]
	return quote(randomDate(r) + []string{" ", "T"}[r.IntN(2)] + randomClock(r) + zone)
}

func randomString(r *rand.Rand) string {
	parts := []string{"a", "b c", `\n`, `\"`, `\\`, `\/`, `\u00e4`, `\ud83d\ude00`, "ü", "漢字", "😀", "'", "long ascii text that is scanned by words"}
	var b strings.Builder
	for range r.IntN(6) {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return quote(b.String())
}

func randomList(r *rand.Rand, of ...string) string {
	var list []string
	for range r.IntN(4) {
		list = append(list, of[r.IntN(len(of))])
	}
	return "[" + strings.Join(list, ",") + "]"
}
