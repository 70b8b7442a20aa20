"""Every address, on one page."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularJSONAPIView

from broker import pages
from broker.api import (
    account,
    agent,
    downloads,
    errors,
    hosts,
    market,
    offers,
    programs,
    prometheus,
    providers,
    reservations,
    runs,
    site,
    stream,
    versions,
)

handler404 = errors.page_missing
handler500 = errors.broken

urlpatterns = [
    path("", pages.home),
    path("healthz", pages.health),
    path("metrics", prometheus.Metrics.as_view()),
    path("dl/", downloads.index),
    path("dl/<str:name>", downloads.wheel),
    # People and programs
    path("v1/schema", SpectacularAPIView.as_view(authentication_classes=[], permission_classes=[])),
    path("v1/schema.json", SpectacularJSONAPIView.as_view(authentication_classes=[], permission_classes=[])),
    path("v1/me", account.Me.as_view()),
    path("v1/ledger", account.Ledger.as_view()),
    path("v1/offers", offers.Offers.as_view()),
    path("v1/offers/history", offers.History.as_view()),
    path("v1/offers/stream", stream.offers),
    path("v1/offers/sources", offers.Sources.as_view()),
    path("v1/offers/quarantine", offers.Quarantine.as_view()),
    path("v1/catalogs/<slug:provider>", market.Catalogs.as_view()),
    path("v1/quotes", market.Quotes.as_view()),
    path("v1/quotes/<int:pk>", market.OneQuote.as_view()),
    path("v1/programs/<str:digest>", programs.Programs.as_view()),
    path("v1/programs/<str:digest>/profile", programs.Profile.as_view()),
    path("v1/workloads", runs.Workloads.as_view()),
    path("v1/workloads/<int:pk>", runs.OneWorkload.as_view()),
    path("v1/workloads/<int:pk>/stop", runs.Stop.as_view()),
    path("v1/workloads/<int:pk>/events", runs.Events.as_view()),
    path("v1/workloads/<int:pk>/decisions", runs.Decisions.as_view()),
    path("v1/workloads/<int:pk>/logs", runs.Logs.as_view()),
    path("v1/workloads/<int:pk>/metrics", runs.Metrics.as_view()),
    path("v1/workloads/<int:pk>/rounds", runs.Rounds.as_view()),
    path("v1/workloads/<int:pk>/artifacts", runs.Artifacts.as_view()),
    path("v1/workloads/<int:pk>/versions", versions.Versions.as_view()),
    path("v1/workloads/<int:pk>/versions/<int:version>", versions.OneVersion.as_view()),
    path("v1/workloads/<int:pk>/objects/<str:digest>", versions.Object.as_view()),
    path("v1/workloads/<int:pk>/bill", runs.Bill.as_view()),
    path("v1/artifacts/<int:pk>", runs.OneArtifact.as_view()),
    path("v1/artifacts/<int:pk>/content", runs.Content.as_view()),
    path("v1/providers", providers.Providers.as_view()),
    path("v1/providers/<slug:provider>", providers.OneProvider.as_view()),
    path("v1/providers/<slug:provider>/check", providers.Check.as_view()),
    path("v1/reservations", reservations.Reservations.as_view()),
    path("v1/reservations/<int:pk>", reservations.OneReservation.as_view()),
    path("v1/suppliers/me", hosts.Supplier.as_view()),
    path("v1/hosts", hosts.Hosts.as_view()),
    path("v1/hosts/<int:pk>/reclaim", hosts.Reclaim.as_view()),
    path("v1/hosts/<int:pk>/return", hosts.Return.as_view()),
    # Agents
    path("v1/agent/enrol", agent.enrol),
    path("v1/agent/beat", agent.beat),
    path("v1/agent/logs", agent.logs),
    path("v1/agent/programs/<str:digest>", agent.program),
    # Sites
    path("v1/site/hello", site.hello),
    path("v1/site/initial", site.initial),
    path("v1/site/objects/<str:digest>", site.objects),
    path("v1/site/samples", site.samples),
    path("v1/site/stop", site.stop),
    path("v1/site/contributions", site.contributions),
    path("v1/site/rounds/<int:version>", site.wait),
    path("v1/site/metrics", site.metrics),
    path("v1/site/artifacts", site.artifacts),
]
