package csi

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/csi-dm/csi-dm/test/hostile"
)

// TestEveryCallIsGuarded: while one operation works on a volume, every other call for it that changes anything is turned away with
// Aborted, and the same call for another volume is not.
func TestEveryCallIsGuarded(t *testing.T) {
	n, _, kubelet := newBroken(t)
	methods, err := hostile.Methods("Node")
	if err != nil {
		t.Fatal(err)
	}
	// These two only look.
	reading := map[string]bool{"NodeGetVolumeStats": true, "NodeGetVolumeHealth": true}
	connection := hostile.Connect(t, n.Register)
	send := func(t *testing.T, method hostile.Method) codes.Code {
		t.Helper()
		text := hostile.Encode(t, goodRequest(method))
		_, err := method.Call(t.Context(), connection, method.Decode(text, kubelet))
		return status.Code(err)
	}
	guarded := 0
	for _, method := range methods {
		if _, ok := method.NewRequest().(interface{ GetVolumeId() string }); !ok || reading[method.Name] || send(t, method) == codes.Unimplemented {
			continue
		}
		guarded++
		end, err := n.inFlight.begin("pvc-1", "test")
		if err != nil {
			t.Fatal(err)
		}
		if code := send(t, method); code != codes.Aborted {
			t.Errorf("%s while another call is under way: %v", method.Name, code)
		}
		end()
		if end, err = n.inFlight.begin("pvc-2", "test"); err != nil {
			t.Fatal(err)
		}
		if code := send(t, method); code == codes.Aborted {
			t.Errorf("%s is turned away for another volume's sake", method.Name)
		}
		end()
	}
	if guarded < 4 {
		t.Errorf("only %d calls were tried", guarded)
	}
}
