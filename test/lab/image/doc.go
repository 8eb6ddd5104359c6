// Package image makes container images for the lab without a registry and without a container engine.
//
// [Archive] writes a docker-archive, the format of "docker save", with one layer made of given files; [Standard] makes the
// lab's own images that way out of static programs. [Dockerfile] builds the project's Dockerfile with buildah, on base images
// that are made here from Debian packages and the host's Go.
//
// An archive is loaded into a node by "ctr --namespace k8s.io images import --local FILE".
package image
