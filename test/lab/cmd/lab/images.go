package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/test/lab"
	"github.com/csi-dm/csi-dm/test/lab/image"
)

func loadImageCommand() *cobra.Command {
	return &cobra.Command{
		Use: "load-image FILE…", Short: "Load docker-archives into all nodes", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Attach(cmd.Context())
			if err != nil {
				return err
			}
			for _, archive := range args {
				if err := l.LoadImage(cmd.Context(), archive); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func imagesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "images", Short: "List the images that every node has from the start", Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			for _, reference := range image.References() {
				fmt.Println(reference)
			}
		},
	}
}
