# One static image from scratch for each binary, named after it: docker build --target sentry . (`make image` builds all).
# The last one, daprd, is what no target asks for.
FROM golang:1.26 AS build
ARG VERSION=edge
ARG COMMIT=
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN make build VERSION="$VERSION" COMMIT="$COMMIT"

# What the images share: the roots for TLS, and a user without rights.
FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
USER 65532:65532

FROM base AS sentry
COPY --from=build /src/bin/sentry /
EXPOSE 50001 9080 8080 9090
ENTRYPOINT ["/sentry"]

FROM base AS injector
COPY --from=build /src/bin/injector /
EXPOSE 4000 8080 9090
ENTRYPOINT ["/injector"]

FROM base AS operator
COPY --from=build /src/bin/operator /
EXPOSE 6500 19443 8080 9090
ENTRYPOINT ["/operator"]

FROM base AS placement
COPY --from=build /src/bin/placement /
EXPOSE 50005 8201 8080 9090
ENTRYPOINT ["/placement"]

FROM base AS daprd
COPY --from=build /src/bin/daprd /
EXPOSE 3500 3501 50001 50002 9090
ENTRYPOINT ["/daprd"]
