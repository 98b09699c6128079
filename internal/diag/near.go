package diag

// Near returns the candidate closest to name if its edit distance is at most 2 (1 for names of up to 3 letters),
// else "". Ties go to the earlier candidate.
func Near(name string, candidates []string) string {
	best, limit := "", 2
	if len(name) <= 3 {
		limit = 1
	}
	for _, c := range candidates {
		if d := distance(name, c); d <= limit && c != name {
			best, limit = c, d-1
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
