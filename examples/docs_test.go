package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/sqlfront"
)

// documents returns the text of every Markdown file that people write, by path from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/adr/*.md", "../*/DESIGN.md"} {
		paths, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, p := range paths {
			data, err := os.ReadFile(p)
			require.NoError(t, err)
			texts[strings.TrimPrefix(filepath.ToSlash(p), "../")] = string(data)
		}
	}
	require.Contains(t, texts, "README.md")
	return texts
}

// fences returns the fenced blocks of a text whose opening line is ```info.
func fences(text, info string) []string {
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```"+info+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestCompleteSQLLints lints every block of SQL that a document marks as complete.
func TestCompleteSQLLints(t *testing.T) {
	t.Parallel()
	w := example(t, "console", "NATS_URL=nats://127.0.0.1:1")
	count := 0
	for name, text := range documents(t) {
		for _, sql := range fences(text, "sql complete") {
			require.NoError(t, os.WriteFile(filepath.Join(w.dir, "block.sql"), []byte(sql), 0o600))
			out, _ := w.run(0, "lint", "block.sql")
			require.Regexp(t, "^ok ", out, name)
			count++
		}
	}
	require.GreaterOrEqual(t, count, 2)
}

// TestCasesInDocumentsPass runs every block of YAML that is a pipeline case.
func TestCasesInDocumentsPass(t *testing.T) {
	t.Parallel()
	w := example(t, "console")
	count := 0
	for name, text := range documents(t) {
		for _, c := range fences(text, "yaml") {
			require.NoError(t, os.WriteFile(filepath.Join(w.dir, "case_test.yaml"), []byte(c), 0o600))
			out, _ := w.run(0, "test", "case_test.yaml")
			require.Contains(t, out, "1 passed, 0 failed", name)
			count++
		}
	}
	require.Positive(t, count)
}

// TestPreludeInDocuments asks that the macros in docs/sql.md are those that the engine goes by.
func TestPreludeInDocuments(t *testing.T) {
	t.Parallel()
	require.Contains(t, documents(t)["docs/sql.md"], "```sql\n"+sqlfront.Prelude()+"```")
}

var (
	commandLine = regexp.MustCompile("(?m)(?:^\\s*(?:\\$ )?|`)tidemill ([a-z][^\\n`#|]*)") //nolint:gochecknoglobals // a constant pattern
	flagWord    = regexp.MustCompile(`^--[a-z-]+`)                                         //nolint:gochecknoglobals // a constant pattern
)

// TestCommandLinesExist asks that every command line in a document names a command that exists, with flags it has.
func TestCommandLinesExist(t *testing.T) {
	t.Parallel()
	w := example(t, "console")
	help := map[string]string{}
	for name, text := range documents(t) {
		for _, m := range commandLine.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(m[1])
			command := words[:1]
			if slices.Contains([]string{"checkpoint", "dlq"}, words[0]) && len(words) > 1 && words[1][0] != '-' ||
				len(words) > 1 && words[0] == "bench" && words[1] == "peers" {
				command = words[:2]
			}
			key := strings.Join(command, " ")
			if help[key] == "" {
				help[key], _ = w.run(0, append(slices.Clone(command), "--help")...)
			}
			require.Contains(t, help[key], "tidemill "+key, "%s: tidemill %s", name, m[1])
			for _, word := range words {
				if f := flagWord.FindString(word); f != "" {
					require.Regexp(t, regexp.QuoteMeta(f)+`\b`, help[key], "%s: tidemill %s", name, m[1])
				}
			}
		}
	}
	require.GreaterOrEqual(t, len(help), 8)
}

// TestLinksLead asks that a link to a file of the repository, and to a heading of docs, leads somewhere.
func TestLinksLead(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	texts := documents(t)
	for name, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			if target != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(name), target))
				_, err := os.Stat(filepath.Join("..", target))
				require.NoError(t, err, "%s links to %s", name, m[1])
			} else {
				target = name
			}
			if anchor != "" {
				require.Contains(t, anchors(texts[target]), anchor, "%s links to %s", name, m[1])
			}
		}
	}
}

// anchors returns what a document's headings are linked by.
func anchors(text string) []string {
	var list []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		a := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		list = append(list, strings.ReplaceAll(a, " ", "-"))
	}
	return list
}

// TestDependenciesHaveAReason asks that docs/adr/0008 names every direct dependency.
func TestDependenciesHaveAReason(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	reasons := documents(t)["docs/adr/0008-dependencies.md"]
	count := 0
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(string(mod), -1) {
		require.Contains(t, reasons, "| `"+m[1]+"` |")
		count++
	}
	require.Greater(t, count, 10)
}

// TestFirstQuery runs the README's first query until it shows a result, and interrupts it.
func TestFirstQuery(t *testing.T) {
	t.Parallel()
	w := example(t, "first")
	sql, err := os.ReadFile(filepath.Join(w.dir, "app.sql"))
	require.NoError(t, err)
	require.Contains(t, documents(t)["README.md"], string(sql[strings.Index(string(sql), "CREATE"):]))
	out := w.until("orders │\n", "run", "app.sql", "--embedded-nats", "--nats-port", "0", "--progress", "off", "--listen", "off")
	require.Contains(t, out, "screen · batch")
	list, _ := w.run(0, "ls", "-o", "csv")
	require.Contains(t, list, "revenue,stopped,")
}

// patience is how long until waits for a text.
const patience = time.Minute
