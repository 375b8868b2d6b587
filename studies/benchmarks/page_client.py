"""A browser without a screen: it holds what the page's components hold, and sends what the page would send."""

import http.client
import json
import secrets
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

PATIENCE = 180.0  # seconds for one answer
Handler = dict[str, Any]  # one entry of /config's dependencies


class Refusal(RuntimeError):
    """The app refused; the message is the app's words, "" where it gave none. `status` is the HTTP status, 200 where
    the refusal came as an event."""

    def __init__(self, words: str, status: int, body: str) -> None:
        super().__init__(words)
        self.status, self.body = status, body


class PageClient:
    """One open page of the app. `values` are those of its components by elem_id, as they were last told or typed.

    Handlers are named by their api_name, or by "elem_id.event" ("import-save.click").
    """

    def __init__(self, url: str, cookie: str = "") -> None:
        self.url, self.cookie = url, cookie or secrets.token_hex(16)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._opener.addheaders = [("Cookie", f"palate_visitor={self.cookie}")]
        self.open()

    def open(self) -> None:
        """Load the page, or load it again."""
        self.session = secrets.token_hex(6)
        self.get("/")
        config = json.loads(self.get("/config"))
        components = {each["id"]: each for each in config["components"]}
        self.names = {number: each["props"].get("elem_id") or str(number) for number, each in components.items()}
        self.states = {self.names[number] for number, each in components.items() if each["type"] == "state"}
        self.values = {self.names[number]: each["props"].get("value") for number, each in components.items()}
        self.handlers: list[Handler] = [each for each in config["dependencies"] if each["backend_fn"]]
        self._by_name: dict[str, Handler] = {}
        for each in reversed(self.handlers):  # of several, the first has the name
            for target, event in each["targets"]:
                self._by_name[f"{self.names.get(target)}.{event}"] = each
            if each["api_name"]:
                self._by_name[each["api_name"]] = each

    def get(self, path: str) -> bytes:
        return bytes(self._opener.open(self.url + path, timeout=PATIENCE).read())

    def stay(self) -> http.client.HTTPConnection:
        """The connection that tells the app that the page is open; close it and the page is."""
        host = urllib.parse.urlsplit(self.url).netloc
        connection = http.client.HTTPConnection(host, timeout=PATIENCE)
        connection.request(
            "GET", f"/gradio_api/heartbeat/{self.session}", headers={"Cookie": f"palate_visitor={self.cookie}"}
        )
        return connection

    def call(self, name: str, **typed: Any) -> dict[str, Any]:
        """Do what the event does, and what the page does after it; `typed` are values of components by elem_id, with _
        for -. Returns what changed. Raises Refusal, and leaves the values as they were."""
        self.values |= {elem_id.replace("_", "-"): value for elem_id, value in typed.items()}
        return self._do(self._by_name[name])

    def _do(self, handler: Handler) -> dict[str, Any]:
        names = [self.names[each] for each in handler["inputs"]]
        told = self.send(handler, [None if name in self.states else self.values[name] for name in names])
        changed = {}
        for number, value in zip(handler["outputs"], told, strict=False):
            if isinstance(value, dict) and value.get("__type__") == "update":
                if "value" not in value:
                    continue
                value = value["value"]
            changed[self.names[number]] = value
        self.values |= changed
        for following in self.handlers:
            if following["trigger_after"] == handler["id"]:
                changed |= self._do(following)
        return changed

    def ask(self, name: str, *data: Any) -> list[Any]:
        """Call a handler that the page's own scripts call, by its api_name; raises Refusal."""
        return self.send(self._by_name[name], list(data))

    def handler(self, name: str) -> Handler:
        return self._by_name[name]

    def send(self, handler: Handler, data: list[Any]) -> list[Any]:
        """What a handler answers to this data; raises Refusal."""
        body = json.dumps({"data": data, "fn_index": handler["id"], "session_hash": self.session, "trigger_id": None})
        if not handler["queue"]:
            return list(json.loads(self.post("/gradio_api/run/predict", body.encode()))["data"])
        self.post("/gradio_api/queue/join", body.encode())
        return self._listen()

    def _listen(self) -> list[Any]:
        last: list[Any] = []
        refused = None
        with self._opener.open(
            f"{self.url}/gradio_api/queue/data?session_hash={self.session}", timeout=PATIENCE
        ) as stream:
            for line in stream:  # to its end: a stream that is left takes the page's next call with it
                if not line.startswith(b"data:"):
                    continue
                told = json.loads(line[5:])
                if told["msg"] == "process_generating" and told["success"]:
                    last = last or list(told["output"]["data"])  # what follows are differences
                elif told["msg"] in ("process_completed", "unexpected_error") and not told["success"]:
                    refused = Refusal(str((told.get("output") or {}).get("error") or ""), 200, line.decode())
                elif told["msg"] == "process_completed":
                    last = list(told["output"]["data"]) or last
        if refused:
            raise refused
        return last

    def upload(self, path: Path, name: str = "") -> dict[str, Any]:
        """Upload a file; returns the value of a file component that holds it."""
        edge, name = secrets.token_hex(16), name or path.name
        head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + path.read_bytes() + f"\r\n--{edge}--\r\n".encode()
        told = json.loads(self.post("/gradio_api/upload", body, f"multipart/form-data; boundary={edge}"))
        return {"path": told[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def post(self, path: str, body: bytes, kind: str = "application/json") -> str:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": kind})
        try:
            return str(self._opener.open(request, timeout=PATIENCE).read().decode())
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            try:
                told = json.loads(said)
                words = told.get("error") or told.get("detail") or ""
            except ValueError:
                words = said
            raise Refusal(str(words), error.code, said) from error
