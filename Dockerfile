# One image for every role: `docker run desireline collector`, `worker`, `dashboards`, `warehouse migrate` …
FROM python:3.11-slim AS built

WORKDIR /build
RUN python -m venv /opt/desireline
ENV PATH="/opt/desireline/bin:$PATH"

# dependencies first: they change less often than the program
COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock

COPY pyproject.toml README.md ./
COPY models models
COPY ingest ingest
COPY streams streams
COPY warehouse warehouse
COPY dashboards dashboards
COPY desireline desireline
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM python:3.11-slim

RUN useradd --create-home --uid 10001 desireline \
    && install -d -o desireline -g desireline /var/lib/desireline
COPY --from=built /opt/desireline /opt/desireline
ENV PATH="/opt/desireline/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    DESIRELINE_DATA_DIR=/var/lib/desireline
USER desireline
WORKDIR /var/lib/desireline
VOLUME /var/lib/desireline
EXPOSE 8080 8081 8082
ENTRYPOINT ["desireline"]
CMD ["--help"]
