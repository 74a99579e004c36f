package collective

// Store is where Gloo leaves the address on which it listens, and finds those of the other processes.
type Store interface {
	Set(key string, value []byte) error
	// Get waits until there is a value.
	Get(key string) ([]byte, error)
}
