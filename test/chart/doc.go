// Package chart tests what the chart renders and what its values schema refuses, by running helm template. What an API server
// makes of it is tested in package api.
//
//	make chart-test
package chart
