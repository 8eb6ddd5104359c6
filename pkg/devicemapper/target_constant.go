package devicemapper

// Zero reads as zeros and swallows what is written to it.
type Zero struct{}

// Type returns "zero".
func (Zero) Type() string { return TypeZero }

func (Zero) params() (string, error) { return "", nil }

// ErrorTarget fails every read and write. Loaded in place of another table it
// cuts a device off from what is below it.
type ErrorTarget struct{}

// Type returns "error".
func (ErrorTarget) Type() string { return TypeError }

func (ErrorTarget) params() (string, error) { return "", nil }
