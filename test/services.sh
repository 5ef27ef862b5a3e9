#!/bin/sh
# Installs what the tests start themselves: redis-server for the Redis components, Node.js and npm for the
# JavaScript SDK, etcd for the API server of Kubernetes and kubectl for what users do with it, on Linux iproute2 for
# networks of the tests' own. Does nothing where they are there already.
set -eu

missing=""
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
command -v etcd >/dev/null || missing="$missing etcd-server"
command -v kubectl >/dev/null || missing="$missing kubernetes-client"
[ "$(uname)" != Linux ] || command -v ip >/dev/null || missing="$missing iproute2"
[ -n "$missing" ] || exit 0

as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"

if command -v apt-get >/dev/null; then
	$as_root apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing
elif command -v dnf >/dev/null; then
	$as_root dnf install -y $(echo "$missing" | sed 's/redis-server/redis/; s/etcd-server/etcd/; s/iproute2/iproute/')
elif command -v brew >/dev/null; then
	brew install $(echo "$missing" | sed 's/redis-server/redis/; s/nodejs/node/; s/npm//; s/etcd-server/etcd/; s/kubernetes-client/kubernetes-cli/')
else
	echo "install these with your package manager, then try again:$missing" >&2
	exit 1
fi

# The tests start instances of their own; those of the distribution only take the ports.
for unit in redis-server etcd; do
	if command -v systemctl >/dev/null && systemctl is-active --quiet $unit 2>/dev/null; then
		$as_root systemctl stop $unit || true
	fi
done
