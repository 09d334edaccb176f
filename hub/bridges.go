package hub

import (
	"net"
	"net/netip"
	"slices"
)

// containerBridges tells the addresses of this machine's container bridges: of
// network bridges under an engine's name that have no device as a member which leads
// elsewhere. A bridge that a network card was put into is somebody's
// LAN, and is not among them.
func containerBridges() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || !isContainerBridge(i.Name) {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		for _, a := range addresses {
			if addr, ok := bridgeAddress(a); ok {
				out = append(out, addr)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out, nil
}

// bridgeAddress keeps private addresses: containers are given no others by
// default, and nothing is to be served on a public one by itself.
func bridgeAddress(a net.Addr) (netip.Addr, bool) {
	prefix, err := netip.ParsePrefix(a.String())
	if err != nil {
		return netip.Addr{}, false
	}
	addr := prefix.Addr().Unmap()
	return addr, addr.IsPrivate()
}
