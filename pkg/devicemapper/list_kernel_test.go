//go:build kernel

package devicemapper_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

func TestListOfNone(t *testing.T) {
	ctx, c := open(t)
	if devices, err := c.List(ctx); err != nil || len(devices) != 0 {
		t.Errorf("list: %v, %v", devices, err)
	}
}

// Hundreds of devices with the longest of names do not fit the first buffer.
func TestListOfHundreds(t *testing.T) {
	ctx, c := open(t)
	const count = 400
	want := make(map[devicemapper.Device]bool, count)
	for i := range count {
		name := devicemapper.Name(pad(fmt.Sprintf("list-%d-", i), devicemapper.MaxNameLength))
		uuid := devicemapper.UUID(pad(fmt.Sprintf("TEST-%d-", i), devicemapper.MaxUUIDLength))
		switch i % 4 { // all alignments, and devices without a UUID
		case 1:
			name, uuid = name[:40+i%9], ""
		case 2:
			uuid = uuid[:50+i%9]
		}
		device, err := c.Create(ctx, name, uuid)
		if err != nil {
			t.Fatal(err)
		}
		removeAtEnd(ctx, t, c, device)
		want[device] = true
	}
	devices, err := c.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(devices) != count {
		t.Errorf("%d devices, want %d", len(devices), count)
	}
	for _, listed := range devices {
		if !want[listed.Device] {
			t.Errorf("unknown or doubled device %#v", listed.Device)
		}
		delete(want, listed.Device)
		if !listed.UUIDKnown {
			t.Errorf("UUID of %s not known", listed.Name)
		}
	}
}

func pad(text string, length int) string {
	return text + strings.Repeat("x", length-len(text))
}

// The list's event number is the one of Info.
func TestListEventNumber(t *testing.T) {
	ctx, c := open(t)
	p := newEventPool(ctx, t, c, "events")
	p.raise(ctx, t, c)
	p.raise(ctx, t, c)
	devices, err := c.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, listed := range devices {
		if want := eventNumber(ctx, t, c, listed); listed.EventNumber != want {
			t.Errorf("%s has event number %d in the list, %d by itself", listed.Name, listed.EventNumber, want)
		}
	}
	if eventNumber(ctx, t, c, p) < 2 {
		t.Errorf("event number %d after two events", eventNumber(ctx, t, c, p))
	}
}
