# The images of the project:
#
#   docker build --target manager -t resnet-operator/manager .    the operator: one static binary
#   docker build --target trainer -t resnet-operator/trainer .    the training program, with libtorch for the CPU
#   docker build --target trainer-cuda …                          the same with PyTorch's libtorch for NVIDIA GPUs
#
# Both compile on the machine's own architecture, with `docker buildx build --platform linux/arm64` for arm64 too; for the trainer the
# machine must then be able to start programs of arm64 (QEMU).
#
# A release builds the same file without a registry, and the local cluster the last stages of it, in which every COPY names a stage and a
# path from its root (`make images`, test/cluster/README.md).
#
# Pin the bases of what you release: --build-arg GOLANG=golang:1.26-bookworm@sha256:… --build-arg DEBIAN=debian:bookworm-slim@sha256:…
ARG GOLANG=golang:1.26-bookworm
ARG DEBIAN=debian:bookworm-slim
# Without -devel and -runtime, which both are needed.
ARG PYTORCH=pytorch/pytorch:2.15.0-cuda13.2-cudnn9

# ---- manager ------------------------------------------------------------------------------------------------------
FROM --platform=$BUILDPLATFORM $GOLANG AS build-manager
WORKDIR /src
COPY . .
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    export CGO_ENABLED=0 GOARCH=$TARGETARCH \
 && go build -trimpath -buildvcs=false -ldflags="-s -w" -o /out/manager ./cmd/manager \
 && hack/licenses.sh ./cmd/manager /out/licenses && cp LICENSE /out/licenses

FROM scratch AS manager
COPY --from=build-manager /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build-manager /out/licenses/ /licenses/
COPY --from=build-manager /out/manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]

# ---- trainer ------------------------------------------------------------------------------------------------------
FROM --platform=$BUILDPLATFORM $GOLANG AS libtorch
ARG TARGETARCH
COPY hack/toolchain.sh /usr/local/bin/
RUN toolchain.sh $TARGETARCH
# Debian's libtorch package drags in all of OpenCV and its desktop; the image has what libtorch uses.
COPY hack/runtime.sh /usr/local/bin/
RUN runtime.sh /runtime $TARGETARCH

FROM libtorch AS build-trainer
WORKDIR /src
COPY . .
# For model cards: --build-arg COMMIT=$(git rev-parse HEAD)
ARG COMMIT
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    toolchain.sh $TARGETARCH go build -trimpath -buildvcs=false -ldflags="-s -w -X github.com/resnet-operator/resnet-operator/trainer/version.commit=$COMMIT" -o /out/trainer ./cmd/trainer \
 && toolchain.sh $TARGETARCH hack/licenses.sh ./cmd/trainer /out/licenses && cp LICENSE /out/licenses

# The platform, for buildah of Debian 12, which would go on with that of the stages above.
FROM --platform=$TARGETPLATFORM $DEBIAN AS trainer
COPY --from=libtorch /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=libtorch /runtime/ /
RUN ldconfig
COPY --from=build-trainer /out/licenses/ /licenses/
COPY --from=build-trainer /out/trainer /usr/local/bin/trainer
# Idle threads wait actively between two operations, half a millisecond or less, and then sleep: to wake one up costs as much as a
# small operation in a virtual machine, but a pod has a quota of processor time, not processors.
ENV GOMP_SPINCOUNT=10000
USER 65532:65532
# Loading libtorch takes a while, in which the kernel would drop a SIGTERM to process 1; tini passes it on. (Pods share one
# process namespace, for the moment before tini listens: -s, because there it is not process 1.)
ENTRYPOINT ["/usr/local/bin/tini", "-s", "--", "/usr/local/bin/trainer"]

# ---- trainer for NVIDIA GPUs --------------------------------------------------------------------------------------
# Not built here, and run on no GPU yet: docs/gpu.md. The base is PyTorch's own image; make gpu builds the same against PyPI's PyTorch.
FROM $PYTORCH-devel AS build-trainer-cuda
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ libjpeg-turbo8-dev \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build-manager /usr/local/go /usr/local/go
WORKDIR /src
COPY . .
ARG COMMIT
RUN --mount=type=cache,target=/root/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    torch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))') \
 && PATH=$PATH:/usr/local/go/bin hack/libtorch.sh "$torch" go build -tags cuda,notcmalloc -trimpath -buildvcs=false \
    -ldflags="-s -w -X github.com/resnet-operator/resnet-operator/trainer/version.commit=$COMMIT" -o /out/trainer ./cmd/trainer

FROM $PYTORCH-runtime AS trainer-cuda
RUN apt-get update \
 && apt-get install -y --no-install-recommends libjpeg-turbo8 tini \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build-trainer-cuda /out/trainer /usr/local/bin/trainer
USER 65532:65532
ENTRYPOINT ["/usr/bin/tini", "-s", "--", "/usr/local/bin/trainer"]
