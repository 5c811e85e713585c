"""Serve the page over HTTP in a thread, and try again when its port or a file cannot be used."""

import logging
import socket
import threading

import uvicorn

from node.conditions import LiveView
from node.config import Config, PageConfig
from node.errors import Misconfigured, NodeError
from node.fault_log import FaultLog
from node.web.app import make_app

MOST_CONNECTIONS = 64
IDLE_S = 10  # a connection without a request is closed
MOST_HEADER_BYTES = 16 << 10
log = logging.getLogger("node.web")


def serve_page(config: Config, live: LiveView, stop: threading.Event) -> None:
    """Serve until `stop` is set."""
    faults = FaultLog(log, "page")
    pause_s = 0.0
    while not stop.wait(pause_s):
        try:
            _serve(config, live, stop, faults)
        except (NodeError, OSError) as exc:
            pause_s = faults.failed(exc)


def _serve(config: Config, live: LiveView, stop: threading.Event, faults: FaultLog) -> None:
    page = config.page
    app = make_app(config, live)
    with _socket(page) as listening:
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,  # its lines would quote addresses of requests
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                http="h11",
                proxy_headers=False,  # `page.proxies` decides, not a header
                limit_concurrency=MOST_CONNECTIONS,
                timeout_keep_alive=IDLE_S,
                h11_max_incomplete_event_size=MOST_HEADER_BYTES,
                ssl_certfile=page.certificate,
                ssl_keyfile=page.key,
            )
        )
        ender = threading.Thread(target=_end, args=(server, stop), daemon=True)
        ender.start()
        faults.worked()
        log.info("the page is served", extra={"host": page.host, "port": page.port})
        server.run(sockets=[listening])


def _end(server: uvicorn.Server, stop: threading.Event) -> None:
    stop.wait()
    server.should_exit = True


def _socket(page: PageConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in page.host else socket.AF_INET
    try:
        return socket.create_server((page.host, page.port), family=family)
    except OSError as exc:
        message = f"page: {page.host}:{page.port} cannot be opened ({exc.strerror})"
        advice = "Choose another page.port, or stop the program that uses it."
        raise Misconfigured(message, advice=advice) from exc
