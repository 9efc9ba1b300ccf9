package raidmaker

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
)

// stream is bytes that anybody can make again: the SHA-256 of "salvor raid 0",
// "salvor raid 1" and so on.
func stream(n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		h := sha256.Sum256(fmt.Appendf(nil, "salvor raid %d", i))
		b = append(b, h[:]...)
	}
	return b[:n]
}

// striped was made by mdadm's own restriper, which reshapes arrays where the kernel
// cannot (test_stripe, restripe.c of mdadm at 5f418455, 2020): `test_stripe restore`
// of 2n+1 rows of stream. The digest is the beginning of the SHA-256 of all members
// in order. Its Q is wrong in the layouts named "-6", for it sums up P; those are
// made here as the kernel makes them (raid6_d0, raid6_idx_to_slot).
var striped = []struct {
	level, layout, disks int
	chunk                int64
	digest               string
}{
	{0, 0, 2, 4096, "0e2d7c34f9689ca75deb8a5d86ea263c"},
	{0, 0, 5, 4096, "3b05b6c311e2b032aad533be24132b81"},
	{4, 0, 3, 4096, "d041c7874dd73cafc08c044706ebde58"},
	{4, 0, 5, 4096, "a0000e79b31a27428f747ec0eeedffb5"},
	{5, 0, 3, 4096, "d7e89b1d3d3789d21935552409167c13"},
	{5, 0, 4, 4096, "9034087d8c2e303ccde8bc0035e8a4d2"},
	{5, 0, 5, 65536, "77f7b324748019101c3a1e0156093f37"},
	{5, 1, 3, 4096, "0b5155769d3eb5cd7fb7c7203d3a322f"},
	{5, 1, 4, 4096, "1bc66c043d49829c4a643ec02e9719ba"},
	{5, 1, 5, 65536, "456929a8ee90b8152468ca54f79ec215"},
	{5, 2, 3, 4096, "2bc7dced84cfacffd06899c1160e9aef"},
	{5, 2, 4, 4096, "4bac487ffdb6878e0878a5426028be08"},
	{5, 2, 5, 65536, "6d4c84fd694091b69b50bfe3ddbaa8ec"},
	{5, 3, 3, 4096, "b8a835c08b53a2abac6898e89c0da02c"},
	{5, 3, 4, 4096, "942904327e781d872d6ee1cb758d7d81"},
	{5, 3, 5, 65536, "85070df47e714956f6cd284dbf5b92b9"},
	{5, 4, 3, 4096, "518a90fcb8871612bd224c0c16712f52"},
	{5, 4, 4, 4096, "ab8da1be5f2e8656127431bcbf9fe7e7"},
	{5, 4, 5, 65536, "a8dd8a2a7bdd316a230cb4be7b9b3b57"},
	{5, 5, 3, 4096, "d041c7874dd73cafc08c044706ebde58"},
	{5, 5, 4, 4096, "d45881f019e5ff624922fe2bcb1032d0"},
	{5, 5, 5, 65536, "73a204d38fb7f9941b8625f48f5e89ac"},
	{6, 0, 4, 4096, "69ea54e5f071437fad4659e1ec29c8c1"},
	{6, 0, 5, 4096, "eb190218b92ba704ed0af902b4464560"},
	{6, 0, 7, 16384, "467c2fddc6666562dc6455fa4f3d1ad1"},
	{6, 1, 4, 4096, "0e5119b982095c52ef4d0db0f8e1dde3"},
	{6, 1, 5, 4096, "5ddb6b1f953f30c64e387bd2de3a19d4"},
	{6, 1, 7, 16384, "2c6104a872d1f5a7d308c0e0595e07d3"},
	{6, 2, 4, 4096, "00134c781b772796cd4c1c3f4d160250"},
	{6, 2, 5, 4096, "dc3b640931d7b214cf1a24990cb36da7"},
	{6, 2, 7, 16384, "67c509288b70169d661cb6a813827a59"},
	{6, 3, 4, 4096, "7c99276ce8b226aadbe79e44c2e4dd0b"},
	{6, 3, 5, 4096, "8b268ee7e3604309762fd01dfb0af77a"},
	{6, 3, 7, 16384, "674a0a2503302a1b3cabbfc0f8ad9eea"},
	{6, 4, 4, 4096, "739a6d2e71ca34591b9b54359a7e4312"},
	{6, 4, 5, 4096, "badd8c017e93a00211595ec955a376fe"},
	{6, 4, 7, 16384, "f08df9c2a41cfd7ab63d86f4135f3db5"},
	{6, 5, 4, 4096, "1eb9d64a434dd5ba6f1e3cf9082ce12b"},
	{6, 5, 5, 4096, "8acb7ada27edac064d9d588990cf257a"},
	{6, 5, 7, 16384, "d4d71cb0c244fc571a71cce7b855ed0c"},
	{6, 8, 4, 4096, "fb5bac380445fbcf269a7798a443b5ed"},
	{6, 8, 5, 4096, "51759bab8db5db68bcfbdd21d6fa0216"},
	{6, 8, 7, 16384, "b4bc6b3f5990f62053a4fa61e7bf300d"},
	{6, 9, 4, 4096, "26c0dd01c6d10df408474ea4b73b4b8e"},
	{6, 9, 5, 4096, "2a11af43e3e3820b755917210ff02a87"},
	{6, 9, 7, 16384, "b62464cd11b2cc52489d4ccdd622a7d2"},
	{6, 10, 4, 4096, "51e12039cc8b1fb7f4ab8c25b2762d1d"},
	{6, 10, 5, 4096, "882f244bc97268cc2a655e4687fbbdf5"},
	{6, 10, 7, 16384, "d2d8eec9ae4a8ccc61967645e889ca17"},
}

func TestMembersAreThoseOfMdadm(t *testing.T) {
	for _, c := range striped {
		s := Spec{Level: c.level, Layout: c.layout, Disks: c.disks, Chunk: c.chunk}
		h := sha256.New()
		for _, m := range InMemory(stream((2*c.disks+1)*s.data()*int(c.chunk)), s) {
			h.Write(m)
		}
		if got := hex.EncodeToString(h.Sum(nil)[:16]); got != c.digest {
			t.Errorf("level %d layout %d of %d disks: members are %s, mdadm made %s", c.level, c.layout, c.disks, got, c.digest)
		}
	}
}
