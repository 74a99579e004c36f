package data

import (
	"math/bits"
	"math/rand/v2"
)

// stream returns the random numbers of one image in one epoch: PCG-DXSM, seeded by a hash of (seed, epoch, index).
// Any of them can be made without those before it, so a resume needs no generator state. Index -1 is the epoch's own.
func stream(seed int64, epoch int32, index int) rand.PCG {
	h := splitMix64(uint64(seed))
	h = splitMix64(h ^ uint64(uint32(epoch)))
	h = splitMix64(h ^ uint64(index))
	var g rand.PCG
	g.Seed(h, splitMix64(h))
	return g
}

// splitMix64 is one step of SplitMix64 (Steele, Lea and Flood, 2014).
func splitMix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// below returns a number in [0, n). Its bias is below n/2⁶⁴. math/rand/v2's own methods are not used, since Go does
// not promise that they stay the same.
func below(g *rand.PCG, n int) int {
	hi, _ := bits.Mul64(g.Uint64(), uint64(n))
	return int(hi)
}

// permutation returns the order of n images in an epoch, by Fisher and Yates.
func permutation(seed int64, epoch int32, n int) []int {
	g := stream(seed, epoch, -1)
	order := make([]int, n)
	for i := range order {
		j := below(&g, i+1)
		order[i] = order[j]
		order[j] = i
	}
	return order
}
