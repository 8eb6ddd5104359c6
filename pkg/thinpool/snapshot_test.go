package thinpool

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// TestAnswers: which requests a volume is the answer to.
func TestAnswers(t *testing.T) {
	const mib = 1 << 20
	format := filesystem.Format{Type: filesystem.Ext4, Options: []string{"-m", "1"}}
	made := volumeRecord{Size: 64 * mib, Format: recordOf(format)}
	grown := made
	grown.CreatedSize, grown.Size = 64*mib, 128*mib
	copied := made
	copied.Source = "source"
	owned := made
	owned.Owner = "pod"
	asked := VolumeSpec{Size: 64 * mib, Format: format}
	larger := VolumeSpec{Size: 128 * mib, Format: format}
	for name, test := range map[string]struct {
		record volumeRecord
		spec   VolumeSpec
		want   bool
	}{
		"as it was made":              {made, asked, true},
		"larger":                      {made, larger, false},
		"grown, as it was made":       {grown, asked, true},
		"grown, as it is":             {grown, larger, false},
		"other options":               {made, VolumeSpec{Size: 64 * mib, Format: filesystem.Format{Type: filesystem.Ext4}}, false},
		"without a file system":       {made, VolumeSpec{Size: 64 * mib}, false},
		"somebody's, for nobody":      {owned, asked, false},
		"nobody's, for somebody":      {made, VolumeSpec{Size: 64 * mib, Format: format, Owner: "pod"}, false},
		"somebody's":                  {owned, VolumeSpec{Size: 64 * mib, Format: format, Owner: "pod"}, true},
		"another one's":               {owned, VolumeSpec{Size: 64 * mib, Format: format, Owner: "other"}, false},
		"a copy, of nothing":          {copied, asked, false},
		"a copy":                      {copied, VolumeSpec{Source: "source"}, true},
		"a copy with its size":        {copied, VolumeSpec{Source: "source", Size: 64 * mib}, true},
		"a copy with another size":    {copied, VolumeSpec{Source: "source", Size: 128 * mib}, false},
		"a copy with its type":        {copied, VolumeSpec{Source: "source", Format: filesystem.Format{Type: filesystem.Ext4}}, true},
		"a copy with another type":    {copied, VolumeSpec{Source: "source", Format: filesystem.Format{Type: filesystem.XFS}}, false},
		"a copy of another":           {copied, VolumeSpec{Source: "other"}, false},
		"a copy, and it is none":      {made, VolumeSpec{Source: "source"}, false},
		"a copy that has been grown":  {volumeRecord{Size: 2, CreatedSize: 1, Source: "source"}, VolumeSpec{Source: "source", Size: 1}, true},
		"a copy that has grown to it": {volumeRecord{Size: 2, CreatedSize: 1, Source: "source"}, VolumeSpec{Source: "source", Size: 2}, false},
	} {
		if got := test.record.answers(test.spec); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestUninterrupted: what is begun is done to its end, and waited for, when its caller has left.
func TestUninterrupted(t *testing.T) {
	var work sync.WaitGroup
	ctx, leave := context.WithCancel(context.Background())
	proceed, done := make(chan struct{}), false
	answer := make(chan error)
	go func() {
		_, err := uninterrupted(ctx, &work, time.Minute, func(ctx context.Context) (int, error) {
			<-proceed
			done = ctx.Err() == nil
			return 1, nil
		})
		answer <- err
	}()
	leave()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Errorf("who left was told %v", err)
	}
	close(proceed)
	work.Wait()
	if !done {
		t.Error("it was interrupted")
	}
	want := errors.New("failed")
	if value, err := uninterrupted(context.Background(), &work, time.Minute, func(context.Context) (int, error) { return 2, want }); value != 2 || !errors.Is(err, want) {
		t.Errorf("%d, %v", value, err)
	}
	_, err := uninterrupted(context.Background(), &work, time.Millisecond, func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the limit gave %v", err)
	}
}
