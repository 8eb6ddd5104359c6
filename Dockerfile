# Two images of one binary:
#   docker build --target controller -t csi-dm-controller .
#   docker build --target node -t csi-dm-node .
# GO_IMAGE and NODE_BASE_IMAGE name other bases, for mirrors and for builds without a registry. With --build-arg
# BINARY=prebuilt the binary is not compiled but taken from bin/csi-dm of the build context.
ARG GO_IMAGE=docker.io/library/golang:1.26-bookworm
ARG NODE_BASE_IMAGE=docker.io/library/debian:bookworm-slim
ARG BINARY=compiled

FROM ${GO_IMAGE} AS compiled
ARG VERSION=unknown
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api ./api
COPY cmd ./cmd
COPY pkg ./pkg
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
        -ldflags "-s -w -X github.com/csi-dm/csi-dm/pkg/version.version=${VERSION}" -o /csi-dm ./cmd/csi-dm

FROM scratch AS prebuilt
COPY bin/csi-dm /csi-dm

FROM ${BINARY} AS binary

# The controller needs nothing but itself; the API server's certificates come with its service account.
FROM scratch AS controller
COPY --from=binary /csi-dm /usr/bin/csi-dm
USER 65532:65532
ENTRYPOINT ["/usr/bin/csi-dm"]
CMD ["controller"]

# The node makes and checks file systems, and checks and repairs the metadata of pools; that is all it takes from Debian. It runs as
# root: device mapper and mounts.
FROM ${NODE_BASE_IMAGE} AS node
RUN apt-get update \
    && apt-get install --yes --no-install-recommends e2fsprogs xfsprogs util-linux thin-provisioning-tools \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
COPY --from=binary /csi-dm /usr/bin/csi-dm
ENTRYPOINT ["/usr/bin/csi-dm"]
CMD ["node"]
