package writelog

// Moments are the numbers of entries after which the disk held just these and no flush was under way, rising: what was
// durable at that moment. A moment more than once, because marks alone lie between, counts once, with all of these marks.
func (l *Log) Moments() []int {
	var moments []int
	for n := range len(l.Entries) + 1 {
		if n > 0 && l.Entries[n-1].plain() {
			continue // in the middle of what a flush made durable
		}
		if n < len(l.Entries) && l.Entries[n].Is(Mark) {
			continue // the disk is the same behind it
		}
		moments = append(moments, n)
	}
	return moments
}

// Unflushed are the entries that a disk with the first n entries, a moment, may have written besides, all or some of them:
// those that were complete and waited for a flush. The last number is that behind the last of them.
func (l *Log) Unflushed(n int) (first, end int) {
	for end = n; end < len(l.Entries) && l.Entries[end].plain(); end++ {
	}
	return n, end
}

// Marks are the names of the marks among the entries from first to below end.
func (l *Log) Marks(first, end int) []string {
	var names []string
	for _, entry := range l.Entries[first:end] {
		if entry.Is(Mark) {
			names = append(names, entry.Name)
		}
	}
	return names
}
