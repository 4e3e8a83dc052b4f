"""Where alerts are sent to: what an address may be, where it is got from, and that
nothing shows it.
"""

from pathlib import Path

import pytest

from cometkms.config.load import in_force, load_settings
from cometkms.config.reload import plan_reload
from cometkms.config.table import BY_KEY, Flags
from cometkms.config.webhook import UrlCredential, UrlFile, UrlGiven, parse_url, shown_url
from cometkms.errors import ConfigError
from cometkms.limits import WEBHOOK_URL_MAX_BYTES

MINIMAL = 'chain_id = "c-1"\nvalidator_addr = "tcp://127.0.0.1:26658"\n'
SECRET = "T0/B0/XyzSecret"
URL = f"https://hooks.example.com/services/{SECRET}"


def home_with(tmp_path: Path, text: str) -> Path:
    (tmp_path / "config.toml").write_text(text + MINIMAL)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "shown", "host", "port", "path"),
    [
        (URL, "https://hooks.example.com", "hooks.example.com", 443, f"/services/{SECRET}"),
        ("https://h:8443", "https://h:8443", "h", 8443, "/"),
        ("https://[2001:db8::1]/a?b=c", "https://[2001:db8::1]", "2001:db8::1", 443, "/a?b=c"),
        ("http://127.0.0.1:9093/x", "http://127.0.0.1:9093", "127.0.0.1", 9093, "/x"),
        ("http://localhost/x", "http://localhost", "localhost", 80, "/x"),
        ("http://[::1]:5/x", "http://[::1]:5", "::1", 5, "/x"),
    ],
)
def test_an_address_is_read_and_shown_without_its_secret(
    text: str, shown: str, host: str, port: int, path: str
) -> None:
    url = parse_url(text)
    assert (str(url), url.host, url.port, url.path) == (shown, host, port, path)
    assert SECRET not in f"{url} {url!r} {UrlGiven(url)!r} {shown_url(text)}"


@pytest.mark.parametrize(
    "text",
    [
        "", "hooks.example.com/x", "ftp://h/x", "https:///x", "https://h:0/x", "https://h:99999/x", "https://h/x y", "https://h/x\r\nHost: evil",
        "https://h/ü", "https://u:p@h/x", "https://u@h/x", "https://h/x#f", "http://h/x", "http://10.0.0.1/x", "https://[::1/x",
        f"https://h/{'x' * WEBHOOK_URL_MAX_BYTES}",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_and_not_shown(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        parse_url(text)
    assert not text or text not in str(error.value)
    if text:
        file = tmp_path / "address"
        file.write_bytes(text.encode())
        file.chmod(0o600)
        with pytest.raises(ConfigError, match="address"):
            UrlFile(file).read()


@pytest.mark.parametrize("given", ["flag", "variable", "file"])
def test_the_address_comes_from_flag_variable_or_file(given: str, tmp_path: Path) -> None:
    home = home_with(tmp_path, f'alert_webhook = "{URL}"\n' if given == "file" else "")
    flags = Flags(alert_webhook=URL if given == "flag" else None)
    settings = load_settings(home, flags, {BY_KEY["alert_webhook"].variable: URL} if given == "variable" else {})
    assert settings.webhook is not None
    assert (settings.webhook.source.read(), settings.webhook.form) == (parse_url(URL), "json")
    assert SECRET not in repr(settings)


def test_a_file_or_a_credential_has_it_instead(tmp_path: Path) -> None:
    file = tmp_path / "hook"
    file.write_text(URL + "\n")
    file.chmod(0o600)
    home = home_with(tmp_path, 'alert_webhook_file = "hook"\nalert_webhook_form = "slack"\n')
    webhook = load_settings(home, Flags(), {}).webhook
    assert webhook is not None
    assert (webhook.source.read(), webhook.source.secret_file, webhook.form) == (parse_url(URL), file, "slack")
    named = load_settings(
        home_with(tmp_path, 'alert_webhook_credential = "hook"\n'), Flags(), {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    ).webhook
    assert named is not None
    file.chmod(0o440)  # systemd's own
    assert named.source.read() == parse_url(URL)
    with pytest.raises(ConfigError, match="LoadCredential=hook:PATH"):
        UrlCredential("hook", None).read()


@pytest.mark.parametrize(("mode", "words"), [(0o644, "chmod 600"), (0o640, "chmod 600")])
def test_a_file_that_others_can_read_is_refused(mode: int, words: str, tmp_path: Path) -> None:
    file = tmp_path / "hook"
    file.write_text(URL)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=words):
        UrlFile(file).read()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'alert_webhook = "{URL}"\nalert_webhook_file = "x"\n', "exclude each other"),
        ('alert_webhook_form = "xml"\n', "'xml' is unknown; use one of json, slack"),
        (f'alert_webhook = "http://hooks.example.com/{SECRET}"\n', "http:// to another machine"),
        (f'alert_webhook = ["{URL}"]\n', "alert_webhook = … must be a string"),
        ('alert_webhook_credential = "a/b"\n', "no credential's name"),
    ],
)
def test_wrong_settings_are_named_without_the_secret(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(home_with(tmp_path, text), Flags(), {})
    assert words in str(error.value)
    assert SECRET not in str(error.value)


def test_config_show_and_a_reload_show_the_host_alone(tmp_path: Path) -> None:
    home = home_with(tmp_path, f'alert_webhook = "{URL}"\n')
    (one,) = [one for one in in_force(home, {}) if one.key == "alert_webhook"]
    assert one.value == "https://hooks.example.com/…"
    (wrong,) = [
        one
        for one in in_force(home, {BY_KEY["alert_webhook"].variable: f"ftp://{SECRET}"})
        if one.key == "alert_webhook"
    ]
    assert wrong.value == "…"
    running = load_settings(home_with(tmp_path, ""), Flags(), {})
    loaded = load_settings(home_with(tmp_path, f'alert_webhook = "{URL}"\n'), Flags(), {})
    plan = plan_reload(running, loaded)
    assert plan.needs_restart == ("alert_webhook: None -> https://hooks.example.com (json)",)
    assert plan.settings.webhook is None
    again = load_settings(home_with(tmp_path, f'alert_webhook = "{URL}X"\n'), Flags(), {})
    assert SECRET not in str(plan_reload(loaded, again).needs_restart)
    assert len(plan_reload(loaded, again).needs_restart) == 1
