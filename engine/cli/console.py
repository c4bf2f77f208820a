"""`wardline console`: the web console, in a process of its own."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.terminal import site_option
from engine.errors import EXIT_CONFIGURATION, ConfigurationError, Problem

if TYPE_CHECKING:
    from engine.config.files import Console, EngineFile
    from engine.console.home import Home
    from engine.observe.logs import Logs

GRACE = 5  # seconds for requests under way when the console ends
NICE = 10  # whatever people ask of the console, messages go first
WAITING = 200  # connections that are answered at once; more are told 503


@click.command("console")
@site_option
@click.option("--companion", is_flag=True, hidden=True, help="End when standard input does: an engine has started this.")
def command(site: Path, companion: bool) -> None:
    """Serve the console that `console:` in conf/engine.yaml describes.

    `wardline run` starts it beside the engine. Alone it shows what the store holds, and acts on an engine that runs on this
    site; beside a PostgreSQL store also on one that runs elsewhere.
    """
    from engine.cli.stored import engine_settings

    settings = engine_settings(site)
    if settings.console is None:
        example = "console: {listen: 127.0.0.1:8070}"
        raise ConfigurationError([Problem("conf/engine.yaml", 0, 0, f"no console is described. Add a line: {example}")])
    sys.exit(_serve(site.resolve(), settings, settings.console, companion))


def _serve(site: Path, settings: EngineFile, console: Console, companion: bool) -> int:
    import uvicorn

    from engine.console.app import make_app
    from engine.console.patience import Patience
    from engine.observe.logs import Logs

    os.nice(NICE)
    logs = Logs("info")
    logs.take_over()
    home = _home(site, settings, logs)
    app = make_app(home, secure=console.tls is not None)
    tls: dict[str, Any] = {"ssl_certfile": console.tls.certificate, "ssl_keyfile": console.tls.key} if console.tls else {}
    os.chdir(site)  # where relative paths of the site's files are
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=Patience,
            ws="none",
            host=console.listen.host,
            port=console.listen.port,
            log_config=None,
            log_level="warning",
            access_log=False,  # the audit trail says who looked at what
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=WAITING,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=GRACE,
            h11_max_incomplete_event_size=64 << 10,
            **tls,
        )
    )
    if companion:
        _end_with_input(server)
    address = f"{'https' if console.tls else 'http'}://{console.listen}"
    token = home.people.start()
    if not companion:
        click.echo(f"The console: {address}/", err=True)
    if token and not companion:  # the engine's log is no place for it: it is in .wardline/first-token
        click.echo(f"Nobody can log in yet. Make the first administrator: {address}/first?token={token}", err=True)
    server.run()
    return 0 if server.started else EXIT_CONFIGURATION


def _home(site: Path, settings: EngineFile, logs: Logs) -> Home:
    from engine.cli.stored import absolute
    from engine.console.home import Home
    from engine.console.people import People

    def now() -> int:
        import time

        return time.time_ns() // 1000

    def tell(name: str, facts: dict[str, object]) -> None:
        """What somebody should hear of at once; and every hour where the audit trail ends, for a log that is kept elsewhere."""
        logs.write("info" if name == "audit.anchor" else "warning", name, **facts)

    oidc = settings.console.oidc if settings.console else None
    return Home(
        site,
        absolute(settings.store, site),
        People(site, now, tell=tell, organization=settings.organization, oidc=oidc),
        organization=settings.organization,
        environment=settings.environment,
        timezone=settings.timezone,
        now=now,
        fault=partial(logs.write, "error", "console.fault"),
    )


def _end_with_input(server: Any) -> None:
    """Whoever started us holds the other end of standard input: when it dies, by whatever, the console goes too."""
    import threading

    def wait() -> None:
        while os.read(0, 4096):
            pass
        server.should_exit = True

    threading.Thread(target=wait, name="companion", daemon=True).start()
