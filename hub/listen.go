package hub

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
)

// listener is a bound address. Closing it again changes nothing.
type listener struct {
	net.Listener
	once sync.Once
	err  error
}

func bind(address string) (*listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w on %s: %w", ErrListen, address, err)
	}
	return &listener{Listener: l}, nil
}

func (l *listener) addr() net.Addr { return l.Addr() }

// Close is what http.Server calls as well.
func (l *listener) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}

// openCertificate comes first: a start that can't be makes nothing.
func (h *Hub) openCertificate(context.Context) (err error) {
	if h.cfg.TLSCert != "" {
		h.certificate, err = openCertificate(h.cfg.TLSCert, h.cfg.TLSKey, h.log)
	}
	return err
}

func (h *Hub) listen(context.Context) (err error) {
	if h.main, err = bind(h.cfg.Listen); err != nil {
		return err
	}
	for _, address := range h.cfg.RunnerListen {
		l, err := bind(address)
		if err != nil {
			return err
		}
		h.runners = append(h.runners, l)
	}
	if h.cfg.ContainerBridges {
		h.bridges.follow(h.port(), h.log.Warn)
	}
	return nil
}

func (h *Hub) port() int {
	if tcp, ok := h.main.addr().(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// bridges are the listeners on container bridges.
type bridges struct {
	mu     sync.Mutex
	open   map[netip.Addr]*listener
	failed map[netip.Addr]string // so that one failure is told once
}

// follow opens listeners on the bridges that came, closes those on bridges that
// went, and returns the new ones.
func (b *bridges) follow(port int, warn func(string, ...any)) (opened []*listener) {
	addrs, err := containerBridges()
	if err != nil {
		warn("look at network interfaces", "err", err)
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		b.open, b.failed = map[netip.Addr]*listener{}, map[netip.Addr]string{}
	}
	for addr, l := range b.open {
		if !slices.Contains(addrs, addr) {
			_ = l.Close()
			delete(b.open, addr)
		}
	}
	for _, addr := range addrs {
		if b.open[addr] != nil {
			continue
		}
		l, err := bind(net.JoinHostPort(addr.String(), strconv.Itoa(port)))
		if err != nil {
			if b.failed[addr] != err.Error() {
				b.failed[addr] = err.Error()
				warn("container bridge is not served", "address", addr, "err", err)
			}
			continue
		}
		delete(b.failed, addr)
		b.open[addr] = l
		opened = append(opened, l)
	}
	return opened
}

// list tells the listeners, in the order of their addresses.
func (b *bridges) list() []*listener {
	b.mu.Lock()
	defer b.mu.Unlock()
	addrs := make([]netip.Addr, 0, len(b.open))
	for addr := range b.open {
		addrs = append(addrs, addr)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	out := make([]*listener, len(addrs))
	for i, addr := range addrs {
		out[i] = b.open[addr]
	}
	return out
}

func (b *bridges) closeAll() {
	for _, l := range b.list() {
		_ = l.Close()
	}
}
