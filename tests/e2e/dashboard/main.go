// Reads a dashboard by the types that Grafana publishes, strictly, and says what does not fit.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	raw, err := os.ReadFile(os.Args[1])
	if err != nil {
		complain(err)
	}
	var found dashboard.Dashboard
	if err := found.UnmarshalJSONStrict(raw); err != nil {
		complain(err)
	}
	if err := found.Validate(); err != nil {
		complain(err)
	}
	newest := dashboard.NewDashboard().SchemaVersion
	if found.SchemaVersion != newest {
		complain(fmt.Errorf("schemaVersion is %d, not %d", found.SchemaVersion, newest))
	}
}

// An error without a text is how these types say that there is none.
func complain(err error) {
	if err.Error() != "" {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
