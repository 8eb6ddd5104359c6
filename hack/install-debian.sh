#!/bin/bash
# Installs what the project's tests need from Debian, as far as it is missing:
#
#   hack/install-debian.sh GROUP…
#
# Groups: race (Go's race detector needs a C compiler), filesystems (their tools, for unit tests), kernel (guests and tools of kernel tests), lab (the cluster lab), images (building container images).
# Does nothing, quickly, when everything is there. Otherwise it needs root, apt and a network.
set -euo pipefail

declare -A packages=(
	[race]='gcc libc6-dev'
	[filesystems]='e2fsprogs xfsprogs util-linux'
	[kernel]='user-mode-linux e2fsprogs xfsprogs dmsetup thin-provisioning-tools lvm2 udev'
	[lab]='user-mode-linux e2fsprogs xfsprogs dmsetup thin-provisioning-tools iproute2 iptables crun busybox-static ca-certificates kmod mount'
	[images]='debootstrap buildah ca-certificates'
)

fail() {
	echo "install-debian: $*" >&2
	exit 1
}

groups=$(printf '%s\n' "${!packages[@]}" | sort | paste -sd' ')
[[ $# -gt 0 ]] || fail "usage: $0 GROUP… (groups: $groups)"
wanted=()
for group in "$@"; do
	[[ -n ${packages[$group]-} ]] || fail "unknown group '$group' (groups: $groups)"
	read -ra members <<<"${packages[$group]}"
	wanted+=("${members[@]}")
done

command -v dpkg-query >/dev/null || fail "this is no Debian (no dpkg); install by hand: ${wanted[*]}"

# dpkg-query fails when it does not know one of them, and still tells of the others.
installed=" $(dpkg-query --show --showformat='${db:Status-Status}:${Package}\n' "${wanted[@]}" 2>/dev/null | sed -n 's/^installed://p' | paste -sd' ') " || true
missing=()
for package in "${wanted[@]}"; do
	[[ $installed == *" $package "* || " ${missing[*]-} " == *" $package "* ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

[[ $EUID -eq 0 ]] || fail "missing: ${missing[*]}; run as root: apt-get install --no-install-recommends ${missing[*]}"
command -v apt-get >/dev/null || fail "missing: ${missing[*]}; there is no apt-get to install them"

export DEBIAN_FRONTEND=noninteractive
echo "install-debian: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Errors of the index alone are fatal too: without it apt would take what it remembers of another day.
apt-get update --quiet --error-on=any >"$log" 2>&1 ||
	fail "cannot fetch Debian's package index ($(grep -m1 -E '^ |^E:' "$log" | sed 's/^ *//')); missing: ${missing[*]}"
apt-get install --quiet --yes --no-install-recommends "${missing[@]}" >"$log" 2>&1 ||
	{ tail -n 20 "$log" >&2; fail "cannot install ${missing[*]}"; }
