# syntax=docker/dockerfile:1
#
#   docker build -t strowger .
#   docker run --network host -v strowger:/var/lib/strowger strowger
#
# The host's network, because SIP and RTP write addresses into their messages and RTP wants thousands of ports:
# a bridge would translate packets but not what stands in them. See docs/operations.md for a bridge all the same.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates ./crates
# The registry and the target folder stay on the build machine between builds, so only the binary is copied out.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package strowger \
    && install -D -m 0755 target/release/strowger /out/strowger \
    && install -d -m 0700 /out/data

# glibc and nothing else: no shell, no package manager, and user 65532 instead of root.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/strowger /usr/local/bin/strowger
COPY --from=build --chown=65532:65532 /out/data /var/lib/strowger
WORKDIR /var/lib/strowger
VOLUME /var/lib/strowger
ENV STROWGER_DATA=/var/lib/strowger
EXPOSE 8080/tcp 5060/udp 5060/tcp 20000-29999/udp
# SIGTERM drains; give `docker stop --time` more than drain_seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/local/bin/strowger", "healthz"]
ENTRYPOINT ["/usr/local/bin/strowger"]
CMD ["serve"]
