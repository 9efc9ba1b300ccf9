package buffers

import "testing"

func TestGetGivesRoom(t *testing.T) {
	for _, n := range []int{0, 1, 100, 16 << 10, 64 << 10, 64<<10 + 1, 1 << 20, 4 << 20, 4<<20 + 1, 50 << 20} {
		for range 3 {
			b := Get(n)
			if len(b) != 0 || cap(b) < n {
				t.Fatalf("Get(%d) gives length %d, capacity %d", n, len(b), cap(b))
			}
			Put(append(b, make([]byte, n)...))
		}
	}
}

// A buffer must never come back shorter than its class promises.
func TestPutTakesOnlyWholeClasses(t *testing.T) {
	for _, size := range []int{64<<10 + 5, 100 << 10, 3 << 20, 1 << 15, 8 << 20} {
		Put(make([]byte, 0, size))
		for range 8 {
			if b := Get(1 << 16); cap(b) == size {
				t.Fatalf("a buffer of %d bytes was kept", size)
			}
		}
	}
	Put(nil)
}
