// Package inspect judges a pool after a crash: by its history, by the thin ids that thin-provisioning-tools find in the
// kernel's metadata, by what is in each volume, and by the checkers of file systems and metadata.
package inspect
