#!/bin/sh
# Installs the Debian packages that the local cluster runs and builds images with. Silent if all are there.
set -eu

packages="buildah ca-certificates containerd containernetworking-plugins debootstrap iproute2 nftables runc"

missing=
for package in $packages; do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "packages.sh: root is needed to install$missing: use sudo" >&2
	exit 1
fi

# The cluster starts a containerd of its own. While this file exists, the package starts none (see invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi

apt="apt-get -o DPkg::Lock::Timeout=600 --yes --quiet"
export DEBIAN_FRONTEND=noninteractive
# An update fails if any one source does, although the rest are good: only the installation decides.
# shellcheck disable=SC2086
$apt install --no-install-recommends $missing || {
	$apt update || true
	$apt install --no-install-recommends $missing
}
