#!/bin/sh
# Installs what the tests start themselves: redis-server for the Redis components, Node.js and npm for the
# JavaScript SDK. Does nothing where they are there already.
set -eu

missing=""
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
[ -n "$missing" ] || exit 0

as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"

if command -v apt-get >/dev/null; then
	$as_root apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing
elif command -v dnf >/dev/null; then
	$as_root dnf install -y $(echo "$missing" | sed 's/redis-server/redis/')
elif command -v brew >/dev/null; then
	brew install $(echo "$missing" | sed 's/redis-server/redis/; s/nodejs/node/; s/npm//')
else
	echo "install these with your package manager, then try again:$missing" >&2
	exit 1
fi

# The tests start instances of their own; the one of the distribution only takes the port.
if command -v systemctl >/dev/null && systemctl is-active --quiet redis-server 2>/dev/null; then
	$as_root systemctl stop redis-server || true
fi
