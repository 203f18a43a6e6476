# The manager, linked statically, on an image that holds nothing but
# certificates and a user without rights.
#
#   docker buildx build --platform linux/amd64,linux/arm64 -t IMAGE .

# Go compiles for every platform; so the builder always runs on our own. Its exact
# version: another one gives another binary.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS builder
WORKDIR /src

# The modules change less often than the sources, so they get a layer.
COPY go.mod go.sum ./
COPY api/go.mod api/go.sum api/
RUN go mod download

COPY *.go ./
COPY api/ api/
COPY controllers/ controllers/
COPY internal/ internal/

ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
# The same sources give the same binary: no paths, no build id, and a version
# that is given rather than read from a checkout.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$VERSION" -o /manager .

FROM scratch
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=builder /manager /manager
# By number: Kubernetes cannot tell whether a name is root.
USER 65532:65532
ENTRYPOINT ["/manager"]
