// Command operator measures the manager at scale: `make bench-operator`.
//
// Control plane, scheduler and Job controller are the real ones; kwok plays the nodes. The pods have addresses in
// 127.0.0.0/8, where this program answers for each of them as a trainer would. Every measurement begins with a fresh
// cluster and a fresh manager, with the manager's default flags.
package main
