"""Every knob, on one page."""

from __future__ import annotations

import logging.config
import secrets
from pathlib import Path
from typing import Any

from broker import env

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"

# The face
SECRET_KEY = env.text("SECRET_KEY", secrets.token_urlsafe(48))  # Without one, what is signed ends with the process.
DEBUG = env.flag("DEBUG", default=False)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1],testserver")
ROOT_URLCONF = "broker.urls"
ASGI_APPLICATION = "broker.asgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "identity.User"
TENANT_MODEL = "identity.Team"  # Whose workloads, hosts and money are.
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.headless",
    "rest_framework",
    "drf_spectacular",
    "broker.identity",
    "broker",
    "offers",
    "workloads",
    "billing",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "broker.browsers.ContentPolicy",
    "django.middleware.common.CommonMiddleware",
    "broker.browsers.Sessions",
    "broker.browsers.Csrf",
    "broker.browsers.SignedIn",
    "allauth.account.middleware.AccountMiddleware",
    "broker.api.errors.DatabaseAway",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 << 20  # JSON and catalogs; programs and parameters are streamed.
PROGRAM_BYTES_MAX = 200 << 20
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "broker.api.keys.ApiKeyAuthentication",
        "broker.api.keys.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["broker.api.keys.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "broker.api.bodies.OneForm",
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "broker.api.openapi.Schema",
    "EXCEPTION_HANDLER": "broker.api.errors.handle",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "GPUYard",
    "VERSION": VERSION,
    "DESCRIPTION": "The cheapest way to finish a training run, across data centres.",
    "SERVE_INCLUDE_SCHEMA": False,
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/v1",
    "POSTPROCESSING_HOOKS": ["broker.api.openapi.complete"],  # Enums have their names from broker.api.shapes.choice.
}

# What remembers, what rings, what stores
DATABASES = {
    "default": env.database(
        "DATABASE_URL", "postgresql://gpuyard@localhost/gpuyard", pool=int(env.number("GPUYARD_DB_POOL", 0))
    )
}
REDIS_URL = env.text("REDIS_URL", "redis://localhost:6379/0")
OBJECTS_URL = env.text("GPUYARD_OBJECTS", str(BASE_DIR / ".yard" / "objects"))  # A directory or any fsspec URL.
# Where machines at clouds reach us: a name with TLS, since their tokens go over it.
PUBLIC_URL = env.text("GPUYARD_PUBLIC_URL", f"http://127.0.0.1:{env.text('GPUYARD_PORT', '8000')}")
DASHBOARD_DIR = env.text("GPUYARD_DASHBOARD", str(BASE_DIR / "frontend" / "web" / "dist"))
WHEEL_DIR = env.text("GPUYARD_WHEELS", str(BASE_DIR / "build" / "wheel"))

# People: sign-up, sign-in, reset and second factors are django-allauth's, spoken to by the dashboard at /_allauth/
HTTPS = PUBLIC_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [env.origin(PUBLIC_URL)]
CSRF_FAILURE_VIEW = "broker.api.errors.forged"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
MAIL_SERVER = env.mail_server("GPUYARD_EMAIL_URL")  # smtp+tls://user:password@host:587; smtps:// and smtp:// as well.
MAIL_DIR = env.text("GPUYARD_MAIL_DIR", str(BASE_DIR / ".yard" / "mail"))  # Without a server mails are files here.
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if MAIL_SERVER else 'filebased'}.EmailBackend"
EMAIL_FILE_PATH, EMAIL_TIMEOUT = MAIL_DIR, 10
if MAIL_SERVER:
    EMAIL_HOST, EMAIL_PORT = MAIL_SERVER.host, MAIL_SERVER.port
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL_SERVER.user, MAIL_SERVER.password
    EMAIL_USE_SSL, EMAIL_USE_TLS = MAIL_SERVER.use_ssl, MAIL_SERVER.use_tls
DEFAULT_FROM_EMAIL = env.text("GPUYARD_EMAIL_FROM", "GPUYard <gpuyard@localhost>")
# Whether an address must be verified before its owner gets in: mandatory, optional or none.
ACCOUNT_EMAIL_VERIFICATION = env.text("GPUYARD_EMAIL_VERIFICATION", "mandatory" if MAIL_SERVER else "optional")
MFA_ALLOW_UNVERIFIED_EMAIL = ACCOUNT_EMAIL_VERIFICATION != "mandatory"
SIGNUP_CREDIT_USD = env.usd("GPUYARD_SIGNUP_CREDIT_USD", "0")  # What a newcomer's own team is given.
ACCOUNT_ADAPTER = "broker.identity.adapter.People"
ACCOUNT_LOGIN_METHODS = {"email", "username"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[GPUYard] "
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_RATE_LIMITS = {"invite": "20/h/user"}  # More than allauth's own.
MFA_ADAPTER = "broker.identity.adapter.Factors"
MFA_TOTP_ISSUER = "GPUYard"
HEADLESS_ONLY = True
HEADLESS_CLIENTS = ("browser",)
HEADLESS_FRONTEND_URLS = {
    "account_confirm_email": f"{PUBLIC_URL}/account/verify-email/{{key}}",
    "account_reset_password": f"{PUBLIC_URL}/account/password/reset",
    "account_reset_password_from_key": f"{PUBLIC_URL}/account/password/reset/key/{{key}}",
    "account_signup": f"{PUBLIC_URL}/account/signup",
}
# What counts attempts: all processes together.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": env.redis(REDIS_URL),
        "KEY_PREFIX": "gpuyard",
    }
}

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# What asks the world may hang for minutes: it has a queue, and workers, of its own.
CELERY_TASK_ROUTES = {
    f"offers.tasks.{name}": {"queue": "market"} for name in ("poll_source", "import_published", "draw_history")
}
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 120, "unacked_restore_interval": 5, "unacked_mutex_expire": 30}

# The market
PROVIDERS: dict[str, dict[str, Any]] = env.json("GPUYARD_PROVIDERS", {})  # {cloud: credentials} of the broker's own.
# What seals the accounts that are added later (offers.accounts): Fernet keys, the first seals, all of them open. While
# none is set, a key derived from SECRET_KEY does, so that SECRET_KEY must stay the same over restarts. That key still
# opens once others are set; `manage.py rotate_credential_keys` seals everything anew with the first.
CREDENTIAL_KEYS = env.fernet_keys("GPUYARD_CREDENTIAL_KEYS")
PRICE_LISTS = env.words("GPUYARD_PRICE_LISTS", "vultr,lium")  # Keyless feeds.
PRICE_LIST_KEYS: dict[str, dict[str, Any]] = env.json("GPUYARD_PRICE_LIST_KEYS", {})  # {feed: arguments}, if needed.
CATALOG_DIR = env.text("GPUYARD_CATALOG_DIR", "")  # DIR/<provider>/vms.csv in the SkyPilot catalog schema.
CATALOG_URLS: dict[str, str] = env.json("GPUYARD_CATALOG_URLS", {})  # {provider: address of a vms.csv}
POLL_EVERY_S: dict[str, float] = {  # How often a source is read; "" is every other.
    "": 300,
    **{name: 60 for name in ("runpod", "lambda", "lium")},
    "vast": 900,  # A whole page takes it forty searches, and a day has only so many.
    **env.json("GPUYARD_POLL_EVERY_S", {}),
}
OFFERS_PAGE_FOR_S = env.number("GPUYARD_OFFERS_PAGE_FOR_S", 1)  # How old an answer from the book may be; 0: never.
MARGIN = env.text("GPUYARD_MARGIN", "0.10")  # Of the cost, as a decimal fraction.

# The work
SILENT_AFTER_S = env.number("GPUYARD_SILENT_AFTER_S", 900)  # A script that reports nothing for so long is stopped.
# A machine at a cloud that its cloud still lists may be silent for so long.
CLOUD_SILENCE_S = env.number("GPUYARD_CLOUD_SILENCE_S", 120)
NO_CAPACITY_AFTER_S = env.number("GPUYARD_NO_CAPACITY_AFTER_S", 24 * 3600)  # Without a machine it waits so long.
POLICY_EVERY_S = env.number("GPUYARD_POLICY_EVERY_S", 300)  # How often it is asked whether a run is at the right place.
# Of a run that trains can be had: the versions of so many last rounds, and one in so many of those before (0: none).
VERSIONS_KEPT = int(env.number("GPUYARD_VERSIONS_KEPT", 20))
VERSION_KEPT_EVERY = int(env.number("GPUYARD_VERSION_KEPT_EVERY", 100))
REFUSALS_MAX = 3  # Contributions refused in a row before the workload is given up.

LOGGING_CONFIG = None
logging.config.dictConfig(
    {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": env.text("LOG_LEVEL", "WARNING")},
    }
)
