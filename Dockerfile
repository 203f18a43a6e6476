# The same image as make image writes, for those who build with Docker: hack/image
# decides what is in it.
#
#   docker buildx build --platform linux/amd64,linux/arm64 -t IMAGE .

# Go compiles for every platform, so the builder always runs on our own. Its exact
# version: another one gives another binary.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS builder
WORKDIR /src
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
RUN go -C hack/image run . -version=$VERSION -platforms=$TARGETOS/$TARGETARCH -files=/files

FROM scratch
COPY --from=builder /files /
# By number: Kubernetes cannot tell whether a name is root.
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/manager"]
ARG VERSION=dev
ARG REVISION
LABEL org.opencontainers.image.title="dli-operator" \
      org.opencontainers.image.description="Watches SQL jobs in Huawei Cloud Data Lake Insight as DLIJob resources." \
      org.opencontainers.image.source="https://github.com/dli-operator/dli-operator" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0"
