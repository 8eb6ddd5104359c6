package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/spf13/cobra"
)

// agreement is --yes, or a question to a person.
type agreement struct{ yes bool }

func (a *agreement) addFlags(command *cobra.Command) {
	command.Flags().BoolVarP(&a.yes, "yes", "y", false, "do it without asking")
}

// possible says whether somebody can agree: with a flag, or at a terminal. It is asked before anything takes time.
func (a *agreement) possible(in io.Reader) error {
	if a.yes || isTerminal(in) {
		return nil
	}
	return marked{errors.New("this changes a pool, and nobody is at a terminal to agree to it: say --yes"), errNotAgreedTo}
}

// ask says what will be done and waits for "yes".
func (a *agreement) ask(in io.Reader, out io.Writer, what string) error {
	if _, err := fmt.Fprintln(out, what); err != nil {
		return err
	}
	if a.yes {
		return nil
	}
	if _, err := fmt.Fprint(out, "Do this? Type yes: "); err != nil {
		return err
	}
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(answer) != "yes" {
		return marked{errors.New("nothing was done"), errNotAgreedTo}
	}
	return nil
}

// isTerminal tells whether somebody types what is read.
var isTerminal = func(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
