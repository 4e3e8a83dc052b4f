"""What the processes of a node load, and what they do not: counted in a Python of their own, which
has loaded nothing else.
"""

import subprocess
import sys
from importlib import import_module

import pytest

from cometkms.errors import InvariantError
from cometkms.spared import spared

#: An HTTP client, mail, XML, process pools, archives, a table of HTML's names, the metrics'
#: library: each costs megabytes in a child.
HEAVY = {
    "http.client", "http.cookiejar", "http.server", "urllib.request", "email.parser", "email.message", "xml.etree.ElementTree", "multiprocessing",
    "logging.config", "logging.handlers", "importlib.resources", "zipfile", "tempfile", "html.entities", "prometheus_client", "uvicorn.main",
    "configparser", "uvicorn._types", "uvicorn.middleware.wsgi", "uvicorn.middleware.proxy_headers", "email._parseaddr", "email.charset", "calendar",
    "falcon.routing.static",
}  # fmt: skip
HTTP = {"falcon", "uvicorn", "h11", "http"}
#: What commands and mistakes need, the readable twin of the C core, and what the replicated log's
#: library would pickle and pack with.
OF_OTHERS = {
    "click",
    "gettext",
    "difflib",
    "uuid",
    "cometkms.cli.commands",
    "cometkms.core.pure.core",
    "pickle",
    "gzip",
    "shutil",
    "bz2",
    "lzma",
}


def loaded_by(*modules: str) -> set[str]:
    """Every module that is loaded once these are, each package with it."""
    code = f"import {', '.join(modules)}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_what_is_shared_by_all_processes_holds_no_http_and_nothing_heavy() -> None:
    """The supervisor has it before it forks: the signer inherits it."""
    loaded = loaded_by("cometkms.cli", "cometkms.config.load", "cometkms.supervisor.start", "cometkms.core.native")
    unwanted = loaded & (HEAVY | HTTP | OF_OTHERS | {"cometkms.api.app", "cometkms.api.page"})
    assert not unwanted


def test_the_api_process_loads_its_libraries_without_what_they_bring_for_others() -> None:
    loaded = loaded_by("cometkms.supervisor.start", "cometkms.api.app", "cometkms.api.server", "cometkms.api.watch")
    assert {"falcon.asgi", "uvicorn.server", "h11"} <= loaded
    assert loaded.isdisjoint(HEAVY), loaded & HEAVY


def test_a_module_that_was_spared_can_be_imported_later() -> None:
    with spared("xmlrpc.client"):
        assert "xmlrpc.client" in sys.modules
        hollow = sys.modules["xmlrpc.client"]
    assert "xmlrpc.client" not in sys.modules
    try:
        assert import_module("xmlrpc.client") is not hollow
    finally:
        del sys.modules["xmlrpc.client"]


def test_a_module_of_no_package_is_spared_like_any_other() -> None:
    with spared("this"):  # whose import prints a poem
        import this
    assert isinstance(this.s, type)
    assert "this" not in sys.modules


def test_whoever_uses_what_was_spared_is_told() -> None:
    with spared("xmlrpc.client"):
        from xmlrpc.client import ServerProxy
    with pytest.raises(InvariantError, match=r"xmlrpc\.client\.ServerProxy was not imported"):
        ServerProxy("http://127.0.0.1/")


def test_what_is_there_already_stays_as_it_is() -> None:
    with spared("json.decoder"):
        from json.decoder import JSONDecoder
    assert JSONDecoder().decode("[1]") == [1]
