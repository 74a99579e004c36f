package group

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// Rendezvous is where and how the nodes of an attempt find each other: each leaves a record of itself in the job's
// folder. So whoever can write there can take part. Records hold no secret.
type Rendezvous struct {
	// Store is the job's folder.
	Store store.Store
	// Owner returns the name of the process that owns the attempt, and so is the rank 0 to meet; "" if there is none yet.
	// Each process has another name. The error says that this attempt is not, or no longer, the newest one.
	Owner func(ctx context.Context) (string, error)
}

// record of a node. It says nothing that is believed: whoever is at this address must have the key of the certificate.
type record struct {
	Address     netip.AddrPort `json:"address"`
	Fingerprint string         `json:"fingerprint"` // of its certificate: SHA-256
	Plain       bool           `json:"plain,omitempty"`
}

// mostRecord is the size of a record, in bytes.
const mostRecord = 4 << 10

// folder of the records of the nodes that meet a rank 0.
func folder(owner string) string { return path.Join(contract.RendezvousPrefix, owner) + "/" }

func recordKey(owner string, node int) string { return fmt.Sprintf("%s%d.json", folder(owner), node) }

func (r *Rendezvous) write(ctx context.Context, owner string, node int, rec *record) error {
	encoded, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return store.FieldError(store.WriteAll(ctx, r.Store, recordKey(owner, node), append(encoded, '\n')))
}

// read returns the record of a node; nil if there is none.
func (r *Rendezvous) read(ctx context.Context, owner string, node int) (*record, error) {
	in, _, err := r.Store.Get(ctx, recordKey(owner, node))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, store.FieldError(err)
	}
	defer in.Close()
	encoded, err := io.ReadAll(io.LimitReader(in, mostRecord))
	if err != nil {
		return nil, store.FieldError(err)
	}
	var rec record
	if json.Unmarshal(encoded, &rec) != nil || !rec.Address.IsValid() || rec.Fingerprint == "" {
		return nil, nil // it is nobody's who could come
	}
	return &rec, nil
}

// list returns the numbers of the nodes that have left records.
func (r *Rendezvous) list(ctx context.Context, owner string) (nodes []int, err error) {
	infos, err := r.Store.List(ctx, folder(owner))
	for _, info := range infos {
		number, _ := strings.CutSuffix(strings.TrimPrefix(info.Key, folder(owner)), ".json")
		if n, err := strconv.Atoi(number); err == nil {
			nodes = append(nodes, n)
		}
	}
	return nodes, store.FieldError(err)
}

// remove deletes records, when nobody needs them any more. One that stays does no harm.
func (r *Rendezvous) remove(ctx context.Context, owner string, nodes ...int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removePatience)
	defer cancel()
	var keys []string
	for _, n := range nodes {
		keys = append(keys, recordKey(owner, n))
	}
	r.Store.Delete(store.WithPatience(ctx, time.Second), keys...)
}

const removePatience = 10 * time.Second
