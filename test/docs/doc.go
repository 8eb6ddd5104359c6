// Package docs holds the documents to the code: what they link to and name must exist, and what the code has for users must be
// in them. Its tests read the Markdown files of the repository; they cannot tell whether a sentence is true.
//
//   - links_test.go: every relative link, and its anchor, leads somewhere
//   - names_test.go: every test, make target, package, value of the chart and document that is named exists
//   - complete_test.go: every field, parameter, flag, option and reason is described
//   - features_test.go: every row of docs/features.md names its tests, where they are and the command that runs them
package docs
