"""Compose the status page. Pure: no clock, no I/O; docs/STATUS_PAGE.md says what stands where.

The page is whole without JavaScript. With it the same parts, made here and nowhere else, arrive
through /events and replace those that changed: there is one place that writes HTML, and it escapes
(html.py). Nothing is fetched from anywhere else, and the policy says so.
"""

import base64
import hashlib
from pathlib import Path
from typing import Final

from cometkms.api.html import Html, tag
from cometkms.api.overview import alerts_part, figures_part, headline_part, stories_part, timeline_part, title_part
from cometkms.api.tables import (
    chains_part,
    events_part,
    footer_part,
    nodes_part,
    processes_part,
    refusals_part,
    validators_part,
)
from cometkms.api.view import View
from cometkms.printable import clock

_STYLE: Final = Path(__file__).with_name("page.css").read_text("utf-8")
_SCRIPT: Final = Path(__file__).with_name("page.js").read_text("utf-8")
_RELOAD_S: Final = 5  # without JavaScript
_ICON: Final = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Ccircle cx='4' cy='4' r='3' fill='%23357'/%3E%3C/svg%3E"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


#: Nothing but this page's own style and script, nothing from elsewhere, no frame around it.
POLICY: Final = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def parts(view: View) -> dict[str, str]:
    """The page's parts by the id of their element. `title` is the window's."""
    return {
        "title": title_part(view),
        "headline": headline_part(view),
        "figures": figures_part(view),
        "alerts": alerts_part(view),
        "stories": stories_part(view),
        "timeline": timeline_part(view),
        "nodes": nodes_part(view),
        "chains": chains_part(view),
        "validators": validators_part(view),
        "events-list": events_part(view),
        "refusals": refusals_part(view),
        "processes": processes_part(view),
        "footer": footer_part(view),
    }


def whole(view: View) -> str:
    """The document."""
    made = parts(view)

    def part(name: str, heading: str | None, element: str = "section") -> Html:
        scrolls = name == "events-list"  # so a keyboard must reach it
        content = tag("div", Html(made[name]), id=name, tabindex=0 if scrolls else None)
        if heading is None:
            return content
        return tag(element, tag("h2", heading, id=f"of-{name}"), content, aria_labelledby=f"of-{name}")

    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", made["title"]),
        tag("link", rel="icon", href=_ICON),
        tag("noscript", tag("meta", http_equiv="refresh", content=_RELOAD_S)),
        Html(f"<style>{_STYLE}</style>"),
    )
    body = tag(
        "body",
        tag(
            "header",
            tag("span", "CometKMS", class_="brand"),
            tag("span", view.me, class_="node"),
            tag("span", f"as of {clock(view.now)[:8]} UTC", id="live", role="status", class_="live"),
        ),
        tag(
            "main",
            tag("div", Html(made["headline"]), id="headline", aria_live="polite"),
            part("figures", None),
            part("alerts", "What needs you"),
            part("timeline", "Timeline"),
            tag("div", part("stories", "What happened"), part("events-list", "Events"), class_="two"),
            part("nodes", "Nodes"),
            part("chains", "Chains"),
            part("validators", "Validators"),
            part("refusals", "Refused requests"),
            part("processes", "Processes of this node"),
        ),
        tag("footer", Html(made["footer"]), id="footer"),
        Html(f"<script>{_SCRIPT}</script>"),
    )
    return f"<!doctype html>{tag('html', head, body, lang='en')}"
