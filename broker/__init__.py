"""The face: HTTP API, settings, timetable, and the few acts that touch two floors at once."""

from broker.celery import app as celery_app

__all__ = ["celery_app"]
