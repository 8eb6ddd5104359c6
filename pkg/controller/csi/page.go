package csi

import (
	"slices"
	"strings"
)

// pageToken begins the tokens of lists; the name follows after which the next page begins. It is in no name, so nothing else is
// taken for a token.
const pageToken = "after:"

// page cuts a page out of sorted names: those after the one that token tells, at most limit of them if that is not 0. next is the
// token of the following page, or empty. Names that come and go meanwhile move nothing. A bad token is a *tokenError.
func page(names []string, token string, limit int32) (found []string, next string, err error) {
	if limit < 0 {
		return nil, "", &fieldError{"max_entries", limit, "0 for no limit, or a number greater than 0"}
	}
	if token != "" {
		last, ok := strings.CutPrefix(token, pageToken)
		if !ok || last == "" {
			return nil, "", &tokenError{fieldError{"starting_token", token, "empty, or the next_token of an earlier answer"}}
		}
		begin, known := slices.BinarySearch(names, last)
		if known {
			begin++
		}
		names = names[begin:]
	}
	if limit != 0 && len(names) > int(limit) {
		names = names[:limit]
		next = pageToken + names[limit-1]
	}
	return names, next, nil
}

// tokenError is a fieldError about a token that no list gave out: ABORTED.
type tokenError struct{ fieldError }
