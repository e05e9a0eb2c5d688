# One image for all six workers of the plant, and for `sector-7g`, the operator's command.
#
#   docker build --tag sector7g-plant .
#   docker run --rm sector7g-plant --help
#
# An application of your own: the same two stages, with its binary in the plant's place.

FROM rust:1-trixie AS build
WORKDIR /source
COPY . .
# No program is to grow beyond 20 MiB unseen.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --release --package examples --example plant \
    && cargo build --locked --release --package sector7g-tasks --features operate,tls,sentinel,cluster --bin sector-7g \
    && install -D --strip --target-directory=/out target/release/examples/plant target/release/sector-7g \
    && install -d /rooms \
    && test -z "$(find /out -type f -size +20M)"

# glibc, CA certificates and nothing else: no shell, no package manager. It runs as user 65532.
FROM gcr.io/distroless/cc-debian13:nonroot
COPY --from=build /out/plant /out/sector-7g /usr/local/bin/
# A volume that is mounted there is the workers' own, too.
COPY --from=build --chown=65532:65532 /rooms /var/lib/plant
# What the workers log goes to standard error; `docker stop` sends SIGTERM, on which they finish or give back their jobs.
ENV RUST_LOG=info
ENTRYPOINT ["/usr/local/bin/plant"]
