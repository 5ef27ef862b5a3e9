# A static image from scratch: the sidecar, the certificate authority and the roots for TLS, nothing else.
FROM golang:1.26 AS build
ARG VERSION=edge
ARG COMMIT=
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN make build VERSION="$VERSION" COMMIT="$COMMIT"

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/daprd /src/bin/sentry /
USER 65532:65532
EXPOSE 3500 50001 50002 9090
ENTRYPOINT ["/daprd"]
