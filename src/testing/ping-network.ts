/**
 * A host with two addresses, and a router behind a cable: it sends what is for 203.0.113.0/25 and 2001:db8:1::/48 back, and knows no way to
 * the other half of the former. For `unshare -Urn sh -c`; nothing
 * of it is left when that ends.
 */
export const PING_NETWORK = `set -e
ip link set lo up
ip addr add 198.51.100.1/32 dev lo
ip addr add 2001:db8::1/128 dev lo
unshare -n sleep 60 >/dev/null 2>&1 &
router=$!
trap 'kill $router' EXIT
while [ "$(readlink /proc/$router/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
at() { nsenter -t $router -n "$@"; }
ip link add near type veth peer name far
ip link set far netns $router
ip addr add 198.51.100.9/30 dev near
ip addr add 2001:db8:9::1/64 dev near nodad
ip link set near up
at ip addr add 198.51.100.10/30 dev far
at ip addr add 2001:db8:9::2/64 dev far nodad
at ip link set far up
at sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
at sh -c 'echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects'
at ip route add 203.0.113.0/25 via 198.51.100.9
at ip route add unreachable 203.0.113.128/25
at ip route add 2001:db8:1::/48 via 2001:db8:9::1
ip route add 203.0.113.0/24 via 198.51.100.10
ip route add 2001:db8:1::/48 via 2001:db8:9::2
`;
/** Lets everybody there have sockets for pings. */
export const ALLOW_PINGS = 'echo "0 0" >/proc/sys/net/ipv4/ping_group_range\n';
