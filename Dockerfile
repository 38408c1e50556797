# The production image: the product's locked packages and nothing else; PostgreSQL and Valkey are outside.
FROM python:3.13-slim-bookworm AS packages
COPY requirements.txt /tmp/requirements.txt
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r /tmp/requirements.txt

# With --build-arg LINKED=true the image can link WhatsApp accounts as devices, and is 80 MB larger.
ARG LINKED=false
COPY requirements-linked.txt /tmp/requirements-linked.txt
RUN [ "$LINKED" != true ] || /opt/venv/bin/pip install --no-cache-dir --require-hashes --no-deps \
    -r /tmp/requirements-linked.txt

# With --build-arg S3=true files can lie in S3 (docs/files.md), and the image is 30 MB larger.
ARG S3=false
COPY requirements-s3.txt /tmp/requirements-s3.txt
RUN [ "$S3" != true ] || /opt/venv/bin/pip install --no-cache-dir --require-hashes --no-deps \
    -r /tmp/requirements-s3.txt

FROM python:3.13-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 SIGMA_HOME=/var/lib/sigma
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin sigma \
 && install -d -o sigma -g sigma -m 0700 /var/lib/sigma /var/lib/sigma/sender \
    /var/lib/sigma/sender/logs /var/lib/sigma/metrics /var/lib/sigma/files
WORKDIR /srv/sigma
COPY --from=packages /opt/venv /opt/venv
COPY manage.py ./
COPY sigma sigma
COPY connectors connectors
COPY messaging messaging
COPY templates_wa templates_wa
COPY workspaces workspaces
COPY lib lib
# collectstatic reads the settings; these values serve this one step and stay in no layer.
RUN SIGMA_EMBEDDED=true SIGMA_HOME=/tmp/build DATABASE_URL=postgresql://build/build \
    REDIS_URL=redis://build/0 python manage.py collectstatic --no-input && rm -rf /tmp/build
USER 10001
EXPOSE 8000 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# Logs go to the standard error; `docker logs sigma-api | grep whatsapp` reads the standard output.
CMD ["sh", "-c", "exec uvicorn sigma.asgi:application --host 0.0.0.0 --port 8000 --http sigma.heads:Bounded --ws none \
     --log-level warning --no-access-log --no-server-header --no-proxy-headers --timeout-graceful-shutdown 10 2>&1"]
