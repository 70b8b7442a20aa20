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
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
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
    "django.middleware.common.CommonMiddleware",
    "broker.api.errors.DatabaseAway",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 << 20  # JSON and catalogs; programs and parameters are streamed.
PROGRAM_BYTES_MAX = 200 << 20
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["broker.api.keys.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["broker.api.keys.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "broker.api.bodies.OneForm",
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "broker.api.errors.handle",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "GPUYard",
    "VERSION": VERSION,
    "DESCRIPTION": "The cheapest way to finish a training run, across data centres.",
    "SERVE_INCLUDE_SCHEMA": False,
}

# What remembers, what rings, what stores
DATABASES = {"default": env.database("DATABASE_URL", "postgresql://gpuyard@localhost/gpuyard")}
REDIS_URL = env.text("REDIS_URL", "redis://localhost:6379/0")
OBJECTS_URL = env.text("GPUYARD_OBJECTS", str(BASE_DIR / ".yard" / "objects"))  # A directory or any fsspec URL.
WHEEL_DIR = env.text("GPUYARD_WHEELS", str(BASE_DIR / "build" / "wheel"))

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 120, "unacked_restore_interval": 5, "unacked_mutex_expire": 30}

# The market
PROVIDERS: dict[str, dict[str, Any]] = {}  # Clouds at which machines can be rented: {name: credentials}.
PRICE_LISTS = env.words("GPUYARD_PRICE_LISTS", "vultr,lium")  # Keyless feeds.
CATALOG_DIR = env.text("GPUYARD_CATALOG_DIR", "")
MARGIN = env.text("GPUYARD_MARGIN", "0.10")  # Of the cost, as a decimal fraction.

# The work
SILENT_AFTER_S = env.number("GPUYARD_SILENT_AFTER_S", 900)  # A script that reports nothing for so long is stopped.
NO_CAPACITY_AFTER_S = env.number("GPUYARD_NO_CAPACITY_AFTER_S", 1800)
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
