#!/bin/sh
# Compares the micro-benchmarks of two commits, each in a worktree of its own, run in turns, so that what else the
# machine does meets both. Prints the table of benchstat.
#
#   tools/benchcmp.sh OLD NEW [COUNT [BENCH [TIME [PACKAGE...]]]]
set -eu
old=$1 new=$2 count=${3:-6} bench=${4:-.} time=${5:-200ms}
[ $# -gt 5 ] && shift 5 || set -- ./internal/decode ./internal/duck ./internal/keyed ./internal/rowenc ./engine/exec ./sources/jetstream \
	./wal ./state ./sinks/...
here=$(git rev-parse --show-toplevel)
dir=$(mktemp -d)
end() {
	for side in old new; do git -C "$here" worktree remove --force "$dir/$side" 2>/dev/null || true; done
	rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM

# build compiles the benchmarks of every package of $2 that has some, once, as $dir/$1.bin/<package>.test.
build() {
	side=$1 commit=$2
	shift 2
	git -C "$here" worktree add --quiet --detach "$dir/$side" "$commit"
	mkdir "$dir/$side.bin"
	cd "$dir/$side"
	for package in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' "$@" | tr ' ' '|'); do
		path=${package%|*} folder=${package#*|}
		grep -q '^func Benchmark' "$folder"/*_test.go || continue
		go test -c -o "$dir/$side.bin/$(echo "$path" | tr / +).test" "$path"
		echo "$folder" >"$dir/$side.bin/$(echo "$path" | tr / +).dir"
	done
	cd "$here"
}
echo "building $old and $new" >&2
build old "$old" "$@"
build new "$new" "$@"

round=1
while [ "$round" -le "$count" ]; do
	echo "round $round of $count" >&2
	for test in "$dir"/new.bin/*.test "$dir"/old.bin/*.test; do basename "$test"; done | sort -u | while read -r test; do
		for side in old new; do
			[ -x "$dir/$side.bin/$test" ] || continue
			(cd "$(cat "$dir/$side.bin/${test%.test}.dir")" &&
				"$dir/$side.bin/$test" -test.run '^$' -test.bench "$bench" -test.benchtime "$time" -test.benchmem) \
				>>"$dir/$side.txt" </dev/null || echo "$side $test failed" >&2
		done
	done
	round=$((round + 1))
done
go tool -modfile="$here/tools/go.mod" benchstat "old=$dir/old.txt" "new=$dir/new.txt"
