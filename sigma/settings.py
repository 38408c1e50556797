"""Django settings, top to bottom: identity, apps, database, cache, Celery, security, product.

Every value that differs between installations is read from the environment
(``docs/configuration.md``).
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from sigma import adminsite, appsettings
from sigma.engines import state
from sigma.env import (
    META,
    Env,
    InvalidSetting,
    broker_url,
    database,
    files_storage,
    graph_url,
    ingest_drains,
    master_keys,
    scanner,
    secret_key,
    sender_device,
    sender_open_workspace,
    sender_origins,
)

env = Env()
BASE_DIR = Path(__file__).resolve().parent.parent

try:
    # Where the embedded engines, generated keys and the demo's facts live.
    SIGMA_HOME = Path(env.text("SIGMA_HOME", str(BASE_DIR / ".sigma"))).absolute()
    # Verbose errors and no HTTPS demands; never on a public address.
    DEBUG = env.boolean("SIGMA_DEBUG")
    # Engines: outside ones by URL, embedded ones otherwise.
    ENGINES = state.resolve(os.environ)
    EMBEDDED = not env.text("DATABASE_URL") or env.boolean("SIGMA_EMBEDDED")
    # Signs sessions and download links; generated for the embedded default.
    SECRET_KEY = secret_key(env, home=SIGMA_HOME, may_create=EMBEDDED)
    # Wrap every tenant's keys; several at once for rotation, the first wraps.
    SIGMA_MASTER_KEYS = master_keys(env, home=SIGMA_HOME, may_create=EMBEDDED)
    # Host names the admin and the API answer to.
    ALLOWED_HOSTS = env.items("SIGMA_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
    # The address Meta and browsers reach us at; shown in callback URLs and download links.
    SIGMA_PUBLIC_URL = (
        env.text("SIGMA_PUBLIC_URL")
        or (ENGINES.base_url if EMBEDDED else "")
        or "http://127.0.0.1:8000"
    ).rstrip("/")
    # Reverse proxies in front of web, each of which adds to X-Forwarded-For; sign-ins are counted
    # by the address that the outermost saw.
    SIGMA_PROXIES = env.integer(
        "SIGMA_PROXIES", int(SIGMA_PUBLIC_URL.startswith("https://")), low=0, high=10
    )
    # Sessions of the admin end after so long without use, and after so long in any case.
    SIGMA_SESSION_IDLE_MINUTES = env.integer("SIGMA_SESSION_IDLE_MINUTES", 60, low=1, high=1_440)
    SIGMA_SESSION_HOURS = env.integer("SIGMA_SESSION_HOURS", 12, low=1, high=336)
    # Whether a pooler in transaction mode stands before PostgreSQL.
    SIGMA_PGBOUNCER = env.boolean("SIGMA_PGBOUNCER")
    DATABASES = {"default": database(ENGINES.database_url)}
    DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = SIGMA_PGBOUNCER
    # The password of the application's role, which `migrate` gives it; see docs/operations.md.
    SIGMA_APPLICATION_PASSWORD = env.secret("SIGMA_APPLICATION_PASSWORD")
    # Wake-ups, rate buckets and caches; callbacks are accepted without it.
    REDIS_URL = broker_url(ENGINES.redis_url)
    # Secrets in the shape of appsettings.json; the environment wins over the file.
    SIGMA_APPSETTINGS = Path(env.text("SIGMA_APPSETTINGS", str(BASE_DIR / "appsettings.json")))
    SIGMA_WHATSAPP = appsettings.load(
        SIGMA_APPSETTINGS, os.environ, required=bool(env.text("SIGMA_APPSETTINGS"))
    )
    # Meta's Graph API, with its version; a simulator's http only where things are tried out.
    SIGMA_GRAPH_URL = graph_url(
        env.text("SIGMA_GRAPH_URL") or (ENGINES.graph_url if EMBEDDED else "") or META,
        for_trying=EMBEDDED or DEBUG,
    )
    # Connections to Meta, and so sends under way, in one sending process.
    SIGMA_SEND_CONCURRENCY = env.integer("SIGMA_SEND_CONCURRENCY", 500, low=1, high=2_000)
    # Sending loops that may run at once over all sending processes, one in each.
    SIGMA_SEND_LOOPS = env.integer("SIGMA_SEND_LOOPS", 1, low=1, high=64)
    # Attempts after which a message that could not be sent is given up.
    SIGMA_SEND_MAX_ATTEMPTS = env.integer("SIGMA_SEND_MAX_ATTEMPTS", 8, low=1, high=100)
    # Largest callback body in bytes; Meta's limit is 3 MB.
    SIGMA_MAX_BODY_BYTES = env.integer("SIGMA_MAX_BODY_BYTES", 3_200_000, low=3_000_001)
    # Callbacks that may wait for a commit in one web process before others get 503.
    SIGMA_INBOX_MAX_WAITING = env.integer("SIGMA_INBOX_MAX_WAITING", 5_000, low=1)
    # The same bound in bytes of bodies.
    SIGMA_INBOX_MAX_BYTES = env.integer("SIGMA_INBOX_MAX_BYTES", 128_000_000, low=4_000_000)
    # Callbacks in one commit; their ids come from one block (``raw.BLOCK``).
    SIGMA_INBOX_MAX_BATCH = env.integer("SIGMA_INBOX_MAX_BATCH", 1_000, low=1, high=1_000)
    # Milliseconds a commit may take before its callbacks get 503.
    SIGMA_INBOX_TIMEOUT_MS = env.integer("SIGMA_INBOX_TIMEOUT_MS", 1_500, low=50, high=10_000)
    # Connections to one web or sender process, in all and from one address (0: no bound), and
    # seconds for a request's line and headers.
    SIGMA_CONNECTIONS = env.integer("SIGMA_CONNECTIONS", 10_000, low=10)
    SIGMA_CONNECTIONS_PER_ADDRESS = env.integer(
        "SIGMA_CONNECTIONS_PER_ADDRESS", 0 if SIGMA_PROXIES else 250
    )
    SIGMA_HEAD_SECONDS = env.integer("SIGMA_HEAD_SECONDS", 10, low=1, high=120)
    # Seconds that a connection may say nothing after an answer: longer than the proxy keeps it.
    SIGMA_KEEPALIVE_SECONDS = env.integer(
        "SIGMA_KEEPALIVE_SECONDS", 130 if SIGMA_PROXIES else 5, low=1, high=3_600
    )
    # Threads that serve Django (GraphQL, REST, admin) in each web process.
    SIGMA_WEB_THREADS = env.integer("SIGMA_WEB_THREADS", 8, low=1, high=128)
    # Callbacks claimed and stored in one transaction.
    SIGMA_INGEST_BATCH = env.integer("SIGMA_INGEST_BATCH", 500, low=1, high=10_000)
    # Drain loops that may run at once over all workers; web processes need their share of cores.
    SIGMA_INGEST_DRAINS = ingest_drains(env)
    # Broadcasts: most people of a list, largest upload, days that lists are kept after the end.
    SIGMA_BROADCAST_MAX_RECIPIENTS = env.integer(
        "SIGMA_BROADCAST_MAX_RECIPIENTS", 100_000, low=1, high=1_000_000
    )
    SIGMA_BROADCAST_MAX_BYTES = env.integer(
        "SIGMA_BROADCAST_MAX_BYTES", 20_000_000, low=100_000, high=50_000_000
    )
    SIGMA_BROADCAST_KEEP_DAYS = env.integer("SIGMA_BROADCAST_KEEP_DAYS", 7, low=0, high=3650)
    # Seconds between two syncs of an account's message templates, beside those that events ask for.
    SIGMA_TEMPLATE_SYNC_SECONDS = env.integer(
        "SIGMA_TEMPLATE_SYNC_SECONDS", 3_600, low=60, high=86_400
    )
    # Largest first/last of a GraphQL connection, deepest query, and most objects one may ask for.
    SIGMA_GRAPHQL_MAX_PAGE = env.integer("SIGMA_GRAPHQL_MAX_PAGE", 100, low=1, high=1_000)
    SIGMA_GRAPHQL_MAX_DEPTH = env.integer("SIGMA_GRAPHQL_MAX_DEPTH", 10, low=3, high=50)
    SIGMA_GRAPHQL_MAX_COST = env.integer("SIGMA_GRAPHQL_MAX_COST", 2_000, low=10)
    # Milliseconds that the statements of one request to the API may take, together.
    SIGMA_GRAPHQL_TIMEOUT_MS = env.integer(
        "SIGMA_GRAPHQL_TIMEOUT_MS", 10_000, low=100, high=600_000
    )
    # Requests a minute that one API key may make of one web process.
    SIGMA_API_RATE = env.integer("SIGMA_API_RATE", 60_000, low=1, high=10_000_000)
    # Times a minute that one API key or user may ask who has a phone number.
    SIGMA_LOOKUP_RATE = env.integer("SIGMA_LOOKUP_RATE", 60, low=1, high=100_000)
    # Hosts and networks outside the public internet that events may be sent to.
    SIGMA_EVENTS_ALLOW_PRIVATE = env.items("SIGMA_EVENTS_ALLOW_PRIVATE", "")
    # Days a delivered event is kept for replaying; one that could not be delivered, 30.
    SIGMA_EVENTS_KEEP_DAYS = env.integer("SIGMA_EVENTS_KEEP_DAYS", 7, low=1, high=365)
    # Live streams (SSE) open at once in one web process.
    SIGMA_STREAMS = env.integer("SIGMA_STREAMS", 500, low=1, high=10_000)
    # The sender service and linked devices: stores and logs, the name of this machine among hosts.
    SIGMA_SENDER_STORE = Path(env.text("SIGMA_SENDER_STORE", str(SIGMA_HOME / "sender"))).absolute()
    SIGMA_SENDER_HOST = env.text("SIGMA_SENDER_HOST", socket.gethostname())[:128]
    # What is linked: WhatsApp, or a simulated account where things are tried out.
    SIGMA_SENDER_DEVICE = sender_device(env, for_trying=EMBEDDED or DEBUG)
    # Where this machine reaches the sender service; `manage.py sender monitor` asks it.
    SIGMA_SENDER_URL = env.text("SIGMA_SENDER_URL") or ENGINES.sender_url or "http://127.0.0.1:8081"
    # Seconds that /send waits for the outcome before it answers that the message is queued.
    SIGMA_SENDER_WAIT_SECONDS = env.integer("SIGMA_SENDER_WAIT_SECONDS", 20, low=0, high=120)
    # Messages a minute that one API key may send through the sender service.
    SIGMA_SENDER_RATE = env.integer("SIGMA_SENDER_RATE", 60, low=1, high=100_000)
    # Messages a day that a linked device may send to one person.
    SIGMA_SENDER_CONTACT_CAP = env.integer("SIGMA_SENDER_CONTACT_CAP", 30, low=1, high=1_000)
    # Web pages (origins) whose scripts may call the sender service.
    SIGMA_SENDER_ORIGINS = sender_origins(env)
    # The workspace that calls without an API key send from; none: every call needs a key.
    SIGMA_SENDER_OPEN_WORKSPACE = sender_open_workspace(env)
    # Whether calls without a key are served on an address that other machines reach.
    SIGMA_SENDER_OPEN_PUBLIC = env.boolean("SIGMA_SENDER_OPEN_PUBLIC")
    # Files that applications give us to send: a folder that all processes share, or another storage
    # of Django's (a class, and its options as JSON). What is on its way lies in the folder even so.
    SIGMA_FILES = Path(env.text("SIGMA_FILES", str(SIGMA_HOME / "files"))).absolute()
    SIGMA_FILES_STORAGE = files_storage(env, folder=SIGMA_FILES)
    # Files that one web process takes in at once; a quarter of them from one tenant.
    SIGMA_FILES_AT_ONCE = env.integer("SIGMA_FILES_AT_ONCE", 32, low=1, high=1_000)
    # Files that one worker fetches for archives at once, half of them of one tenant; the largest.
    SIGMA_ARCHIVE_AT_ONCE = env.integer("SIGMA_ARCHIVE_AT_ONCE", 4, low=1, high=64)
    SIGMA_ARCHIVE_MAX_BYTES = env.integer(
        "SIGMA_ARCHIVE_MAX_BYTES", 104_857_600, low=1_000_000, high=104_857_600
    )
    # A virus scanner (clamd, or what else speaks INSTREAM): what it does not pass is not served.
    SIGMA_SCANNER = scanner(env)
    # Bytes of files to send that a tenant may keep; 0: any number.
    SIGMA_FILES_QUOTA_BYTES = env.integer(
        "SIGMA_FILES_QUOTA_BYTES", 10_737_418_240, low=0, high=1 << 60
    )
    # Where processes count for /metrics, and the token that opens it from elsewhere than this host.
    SIGMA_METRICS_FOLDER = Path(
        env.text("SIGMA_METRICS_FOLDER", str(SIGMA_HOME / "metrics"))
    ).absolute()
    SIGMA_METRICS_TOKEN = env.secret("SIGMA_METRICS_TOKEN", least=20)
    # Log level, and text (coloured on a terminal) or json.
    SIGMA_LOG_LEVEL = env.choice("SIGMA_LOG_LEVEL", "info", ("debug", "info", "warning", "error"))
    SIGMA_LOG_FORMAT = env.choice("SIGMA_LOG_FORMAT", "text", ("text", "json"))
except InvalidSetting as error:
    # Not ImproperlyConfigured: whichever process starts, the operator reads one line, no traceback.
    raise SystemExit(f"sigma: {error}") from None
except OSError as error:
    # Keys that are made at the first start have to be kept.
    remedy = "Make it writable, or set SIGMA_HOME to a folder that is."
    raise SystemExit(f"sigma: {error.filename}: {error.strerror}. {remedy}") from None

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "sigma.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "graphene_django",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "workspaces",
    "templates_wa",
    "messaging",
    "connectors.events",
    "connectors.whatsapp",
    "connectors.linked_device",
    "connectors.sender",
    "connectors.simulator",
    "sigma",
]
MIDDLEWARE = [
    "sigma.answers.Finishing",
    "django.middleware.security.SecurityMiddleware",
    "sigma.static.Static",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "workspaces.sessions.SessionRules",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "sigma.urls"


TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "sigma" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "sigma",
    }
}
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "ingest"
CELERY_TASK_ROUTES = {
    f"{queue}.*": {"queue": queue} for queue in ("maintenance", "ingest", "events", "broadcast")
}
CELERY_TASK_ROUTES["templates.*"] = {"queue": "maintenance"}
CELERY_TASK_ROUTES |= {
    f"{name}.*": {"queue": "maintenance"} for name in ("archive", "blocks", "numbers", "tokens")
}
# The sweep must come round while a sending process is busy.
CELERY_TASK_ROUTES |= {"send.deliver": {"queue": "send"}, "send.sweep": {"queue": "ingest"}}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# Nobody waits for the broker: a wake-up that cannot be sent is a log line, and the sweep finds the
# work.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "socket_timeout": 5,
    "socket_connect_timeout": 1,
}
# An answer such as "out of memory" is no reason to end a worker.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_WORKER_CONSUMER = "sigma.broker.PatientConsumer"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "sigma.beat.SteadyScheduler"
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "ingest.sweep", "schedule": 2.0},
    "templates": {"task": "templates.sync", "schedule": 30.0},
    "send": {"task": "send.sweep", "schedule": 1.0},
    "release": {"task": "ingest.release", "schedule": 10.0},
    "numbers": {"task": "numbers.sync", "schedule": 60.0},
    "tokens": {"task": "tokens.check", "schedule": 300.0},
    "blocks": {"task": "blocks.perform", "schedule": 10.0},
    "partitions": {"task": "maintenance.partitions", "schedule": 3600.0},
    "purge": {"task": "maintenance.purge", "schedule": 900.0},
    "broadcasts": {"task": "broadcast.sweep", "schedule": 1.0},
    "forget_lists": {"task": "maintenance.broadcasts", "schedule": 900.0},
    "events": {"task": "events.sweep", "schedule": 2.0},
    "forget_recipients": {"task": "maintenance.recipients", "schedule": 900.0},
    "forget_addresses": {"task": "maintenance.addresses", "schedule": 3600.0},
    "forget_uploads": {"task": "maintenance.uploads", "schedule": 900.0},
    "forget_events": {"task": "maintenance.events", "schedule": 900.0},
    "archive": {"task": "archive.sweep", "schedule": 2.0},
    "snoozed": {"task": "conversations.wake", "schedule": 15.0},
    "people": {"task": "maintenance.people", "schedule": 20.0},
    "words": {"task": "maintenance.words", "schedule": 5.0},
    "merged": {"task": "maintenance.merged", "schedule": 60.0},
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
PASSWORD_HASHERS = ["sigma.hashers.OneLaneHasher"]
HTTPS = SIGMA_PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
LOGIN_REDIRECT_URL = "admin:index"
SESSION_ENGINE = "workspaces.sessions"
SESSION_COOKIE_AGE = SIGMA_SESSION_HOURS * 3600
# Browsers take a cookie of such a name from this very host, over https, and from nobody else.
COOKIE_PREFIX = "__Host-" if HTTPS else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{COOKIE_PREFIX}sessionid", f"{COOKIE_PREFIX}csrftoken"
CSRF_TRUSTED_ORIGINS = [SIGMA_PUBLIC_URL]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = SIGMA_MAX_BODY_BYTES
STORAGES = {
    "default": SIGMA_FILES_STORAGE,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = ["sigma.formats"]
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
with suppress(OSError):  # a read-only image has collected its files already
    STATIC_ROOT.mkdir(exist_ok=True)
WHITENOISE_USE_FINDERS = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "redact": {"()": "sigma.logs.Redact"},
        "repeated": {"()": "sigma.logs.OnceAMinute"},
    },
    "formatters": {
        "text": {"()": "sigma.logs.TextFormatter"},
        "json": {"()": "sigma.logs.JsonFormatter"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": SIGMA_LOG_FORMAT,
            "filters": ["repeated", "redact"],
        }
    },
    "root": {"handlers": ["stderr"], "level": SIGMA_LOG_LEVEL.upper()},
    "loggers": {
        # One line per scheduled or received task would drown everything else.
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.request": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
    },
}

# How each transport of a workspace is reached; a platform more is a line more.
SIGMA_CHANNELS = {"CLOUD_API": "connectors.whatsapp.channel.CloudApiChannel"}
# Where events for tenants' apps are written down.
SIGMA_EVENT_SINK = "connectors.events.outbox.record"
# Where templates find the files that they have as examples.
SIGMA_TEMPLATE_FILES = "messaging.uploads.examples"
# What a session process links; imported there and nowhere else.
SIGMA_DEVICES = {
    "whatsapp": "connectors.linked_device.neonize_device.NeonizeDevice",
    "simulated": "connectors.simulator.device.SimulatedDevice",
}
GRAPHENE = {"SCHEMA": "sigma.schema.schema"}
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
# What the OpenAPI document at /api/schema says beside the operations.
SPECTACULAR_SETTINGS = {
    "TITLE": "SIGMA WhatsApp connector",
    "DESCRIPTION": "Send WhatsApp messages over HTTP with JSON. GraphQL at `/graphql` does the "
    "same, and reads.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    # What may be left out is said by the structs themselves.
    "COMPONENT_SPLIT_PATCH": False,
    # The viewer's files come from here, not from another server.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    },
    "SECURITY": [{"bearer": []}, {"key": []}],
}
UNFOLD = adminsite.UNFOLD
