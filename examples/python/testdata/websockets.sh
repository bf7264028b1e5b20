#!/bin/sh
# Unpacks the package websockets of Debian 13 into a directory:
#
#	websockets.sh DIR
#
# Debian 12's is older than the interface in websockets.asyncio. But for a part
# in C that is optional, the files run under any Python; what is installed
# stays as it is.
set -eu
to=$1
suite=trixie

mirror() {
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Codename: bookworm' 2>/dev/null | head -n 1
}
mirror=$(mirror)
if [ -z "$mirror" ] && command -v apt-get >/dev/null; then
	apt-get -qq update
	mirror=$(mirror)
fi
if [ -z "$mirror" ]; then
	echo "The tests need websockets 14 or later in $to:"
	echo "pip install --target $to 'websockets>=14'"
	exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p lists/partial cache/archives/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >$suite.list
apt() {
	apt-get -qq -o Dir::Etc::SourceList="$work/$suite.list" -o Dir::Etc::SourceParts=- \
		-o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)" \
		-o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}
apt update
apt download python3-websockets/$suite >/dev/null
dpkg-deb -x python3-websockets_*.deb unpacked
mkdir -p "$(dirname "$to")"
rm -rf "$to"
mv unpacked/usr/lib/python3/dist-packages "$to"
