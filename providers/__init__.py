"""The world: outside clouds and price lists in four verbs. No Django, no Celery."""
