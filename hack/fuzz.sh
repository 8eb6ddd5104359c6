#!/bin/bash
# Runs every fuzz target of the packages given for a time each, one after the other:
#
#   hack/fuzz.sh TIME [TARGET-REGEXP [PACKAGE…]]
#
# An input that fails is kept in the package's testdata/fuzz, where `go test` runs it from then on: commit it with the fix.
set -euo pipefail

[[ $# -gt 0 ]] || { echo "usage: $0 TIME [TARGET-REGEXP [PACKAGE…]]" >&2; exit 1; }
time=$1
targets=${2:-.}
shift $(($# > 1 ? 2 : 1))
packages=("$@")
if [[ ${#packages[@]} -eq 0 ]]; then
	# Only packages that have a target: listing builds their tests.
	mapfile -t packages < <(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u)
fi

# go test -list prints the names of a package's targets and then "ok", the package and the time.
list=$(go test -list '^Fuzz' "${packages[@]}" | awk '/^Fuzz/ { names[++n] = $1 } /^ok/ { for (i = 1; i <= n; i++) print names[i], $2; n = 0 }')
list=$(awk -v targets="$targets" '$1 ~ targets' <<<"$list")
[[ -n $list ]] || { echo "fuzz: no target matches '$targets'" >&2; exit 1; }

failed=()
while read -r name package; do
	echo "fuzz: $name in $package for $time"
	# Making interesting inputs small may take up to a minute each, of a time that is short.
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 20x "$package" </dev/null || failed+=("$name in $package")
done <<<"$list"
if [[ ${#failed[@]} -gt 0 ]]; then
	printf 'fuzz: failed: %s\n' "${failed[@]}" >&2
	exit 1
fi
echo "fuzz: $(wc -l <<<"$list") targets passed"
