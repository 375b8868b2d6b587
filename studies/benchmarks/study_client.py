"""A rater of a study without a browser: the requests that the study's page makes, over HTTP."""

import json
import re
import secrets
import urllib.error
import urllib.request
from typing import Any

TRIAL = re.compile(r"[0-9a-f]{32}")


class Participant:
    """One visitor with a cookie of their own. `trial` is what lies on the table, "" where nothing does."""

    def __init__(self, url: str, cookie: str = "") -> None:
        self.url, self.trial, self.step = url, "", ""
        self.cookie = cookie or secrets.token_hex(16)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._opener.addheaders = [("Cookie", f"palate_visitor={self.cookie}")]
        self._session = secrets.token_hex(5)
        config = json.loads(self._opener.open(f"{url}/config", timeout=60).read())
        self._events = {each["api_name"]: each for each in config["dependencies"] if each["api_name"]}
        components = {each["id"]: each["props"].get("elem_id") for each in config["components"]}
        self._places = {
            name: {components[o]: place for place, o in enumerate(each["outputs"])}
            for name, each in self._events.items()
        }

    def call(self, name: str, *data: Any) -> list[Any]:
        """What the page gets; raises RuntimeError with the page's words when it is refused."""
        body = {"data": data, "fn_index": self._events[name]["id"], "session_hash": self._session}
        request = urllib.request.Request(
            f"{self.url}/gradio_api/run/predict", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            reply = self._opener.open(request, timeout=120).read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from error
        answer = list(json.loads(reply)["data"])
        self.trial = answer[self._places[name]["trial-id"]]
        self.texts = "".join(str(answer[self._places[name][side]]) for side in ("left-text", "right-text"))
        return answer

    def begin(self) -> None:
        """Consent and read the instructions."""
        self.call("look")
        self.call("agree")
        self.call("begin")

    def vote(self, choice: str, trial: str = "", flags: list[str] | None = None, viewed: int = 60_000) -> str:
        """Vote on the trial on the table; returns the words of a refusal, "" where it was stored."""
        try:
            self.call("vote", trial or self.trial, choice, viewed, False, flags or [], [])
        except RuntimeError as error:
            return str(error)
        return ""
