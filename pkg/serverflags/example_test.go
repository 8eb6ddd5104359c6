package serverflags_test

import (
	"fmt"

	"github.com/csi-dm/csi-dm/pkg/serverflags"
)

func ExampleRefusals() {
	options := serverflags.Options{Endpoint: "unix:///csi/csi.sock", HTTPEndpoint: "9808", APIQPS: 50}
	var refusals serverflags.Refusals
	options.Check(&refusals)
	fmt.Println(refusals.Err())
	// Output:
	// --http-endpoint: "9808" is not allowed: must be HOST:PORT or :PORT, or empty
	// --kube-api-burst: "0" is not allowed: must be greater than 0
}
