package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// AwaitEvent waits for an event about an object, of the given kind and name, whose message contains every word of words, and
// returns the message. A wait in vain shows the messages that were there.
func (c *Cluster) AwaitEvent(ctx context.Context, limit time.Duration, kind, name string, words ...string) (string, error) {
	var found string
	what := fmt.Sprintf("an event on %s %s with %q", kind, name, words)
	err := Await(ctx, limit, what, func(ctx context.Context) (string, error) {
		messages, err := c.events(ctx, kind, name)
		if err != nil {
			return err.Error(), nil
		}
		for _, message := range messages {
			if containsAll(message, words) {
				found = message
				return "", nil
			}
		}
		return fmt.Sprintf("its events are:\n  %s", strings.Join(messages, "\n  ")), nil
	})
	return found, err
}

// events returns "REASON: MESSAGE" of all events about the object, in any namespace: those of cluster-scoped objects are in
// the namespace default.
func (c *Cluster) events(ctx context.Context, kind, name string) ([]string, error) {
	var events corev1.EventList
	err := c.List(ctx, &events, client.MatchingFields{"involvedObject.kind": kind, "involvedObject.name": name})
	if err != nil {
		return nil, err
	}
	messages := make([]string, 0, len(events.Items))
	for _, event := range events.Items {
		messages = append(messages, event.Reason+": "+event.Message)
	}
	return messages, nil
}

func containsAll(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}
