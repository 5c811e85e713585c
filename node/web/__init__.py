"""The page for people: an ASGI application that reads recorded rows and queues operators' actions.

Promises: everything that a browser can send is answered in words; no URL holds patient data; texts
of peers are escaped; no script runs. Leaves to `node.monitor`: the process in which it runs.
"""

from node.web.app import make_app
from node.web.server import serve_page

__all__ = ["make_app", "serve_page"]
