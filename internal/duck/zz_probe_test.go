//go:build adv

package duck

import (
	"fmt"
	"os"
	"testing"
)

func TestProbe(t *testing.T) {
	db, err := Open(t.Context(), Options{Sealed: true, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := db.Conn(t.Context())
	if os.Getenv("PARSE") != "" {
		b, err := c.Parse(t.Context(), os.Getenv("PARSE"))
		fmt.Println(string(b), err)
	}
	for i := 0; ; i++ {
		q := os.Getenv(fmt.Sprintf("Q%d", i))
		if q == "" {
			break
		}
		rows, err := c.Rows(t.Context(), q)
		fmt.Println(q, err)
		for _, r := range rows {
			fmt.Println("   ", r)
		}
	}
}
