"""The product's web frontend as far as a release looks at it: public legal pages, and routes that must answer."""

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.faults import Scope

_LEGAL = {
    "terms": (
        "Allgemeine Geschäftsbedingungen",
        "Version 1.0.0 | Stand: 11. Januar 2026",
        "Diese Bedingungen gelten für alle Verträge über die Nutzung von SOLVEREIGN.",
    ),
    "privacy": (
        "Datenschutzerklärung",
        "Version 1.0.0 | Stand: 11. Januar 2026",
        "Wir verarbeiten personenbezogene Daten nach der DSGVO. Datenschutzbeauftragter: wird ergänzt.",
    ),
    "imprint": (
        "Impressum",
        "",
        "Angaben gemäß § 5 DDG. Handelsregister: wird ergänzt.",
    ),
}


def make_app(switches: Scope) -> web.Application:
    """The frontend of one environment."""
    app = web.Application(middlewares=[_errors])

    def legal(name: str) -> Handler:
        async def page(_request: web.Request) -> web.Response:
            if name == "imprint" and switches.on("legal_page_missing"):
                return _page("404", "404: Diese Seite wurde nicht gefunden.", status=404)
            title, version, text = _LEGAL[name]
            return _page(title, f"<p>{version}</p><p>{text}</p>", robots="noindex")

        return page

    app.add_routes([web.get(f"/legal/{name}", legal(name)) for name in _LEGAL])
    app.add_routes(
        [
            web.get("/", _root),
            *(web.get(path, _shell(title)) for path, title in _ROUTES.items()),
        ]
    )
    return app


_ROUTES = {
    "/platform/login": "Anmelden",
    "/platform/home": "Übersicht",
    "/my-plan": "Mein Plan",
}


def _shell(title: str) -> Handler:
    async def page(_request: web.Request) -> web.Response:
        return _page(title, "<p>SOLVEREIGN</p>")

    return page


async def _root(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/platform/login")


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _page("404", "404: Diese Seite wurde nicht gefunden.", status=404)


def _page(title: str, body: str, *, status: int = 200, robots: str = "all") -> web.Response:
    html = (
        f'<!doctype html><html lang="de"><head><meta charset="utf-8"><meta name="robots" content="{robots}">'
        f"<title>{title} | SOLVEREIGN</title></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    )
    return web.Response(text=html, content_type="text/html", status=status)
