"""Servers on this machine: the real `transformers serve`, and a stand-in for vLLM that reads requests as vLLM does.

The stand-in checks the form that vLLM 0.33 documents (and its source enforces), decodes the embeddings, and lets the
tiny model go on from them: so what arrives is what was meant. vLLM itself does not run here.
"""

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from engine.backbone import Backbone

SAMPLING = {"model", "max_tokens", "seed", "temperature", "top_p", "top_k", "min_p", "repetition_penalty"}
FIELDS = {  # of those that vLLM documents, what is sent
    "chat/completions": SAMPLING | {"messages", "chat_template_kwargs"},
    "completions": SAMPLING | {"prompt_embeds", "stop_token_ids"},
}
Reply = tuple[int, dict[str, Any]]


@contextmanager
def listening(answer: Callable[[str, dict[str, Any] | None], Reply]) -> Iterator[str]:
    """A server at the address it gives: `answer` gets the path below /v1 and the body, None for a GET."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(*answer(self.path.removeprefix("/v1/"), None))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._say(*answer(self.path.removeprefix("/v1/"), body))

        def _say(self, status: int, said: dict[str, Any]) -> None:
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def completion(text: str, finish: str = "stop", tokens: int = 3) -> dict[str, Any]:
    """The body of an answer to messages."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"object": "chat.completion", "choices": [choice], "usage": {"completion_tokens": tokens}}


@dataclass
class StandIn:
    """vLLM, as far as Palate speaks to it: `adapters` are the registered ones, a folder each."""

    lm: Backbone
    embeds: bool = True
    adapters: dict[str, Path] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, path: str, body: dict[str, Any] | None) -> Reply:
        if body is None:
            return 200, {"object": "list", "data": self._cards()}
        self.requests.append(body)
        if unknown := body.keys() - FIELDS[path]:
            return 400, {"error": {"message": f"not documented: {unknown}"}}
        if body["model"] not in {"tiny", *self.adapters}:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        if path == "chat/completions":
            return 200, completion("It was said in messages.")
        if not self.embeds:
            return 400, {"error": {"message": "You must set `--enable-prompt-embeds` to input `prompt_embeds`."}}
        payload = base64.b64decode(body["prompt_embeds"], validate=True)
        embeds = torch.load(io.BytesIO(payload), weights_only=True)
        assert embeds.dim() == 2
        assert embeds.is_floating_point()
        if embeds.shape[1] != self.lm.width:
            return 400, {"error": {"message": f"`prompt_embeds` hidden_size {embeds.shape[1]} does not match"}}
        ids = self._greedy(body, embeds)
        ended = len(ids) < body["max_tokens"]
        choice = {"index": 0, "text": self.lm.text(ids), "finish_reason": "stop" if ended else "length"}
        return 200, {"object": "text_completion", "choices": [choice], "usage": {"completion_tokens": len(ids)}}

    def _cards(self) -> list[dict[str, Any]]:
        model = {"id": "tiny", "object": "model", "owned_by": "vllm", "root": "tiny", "parent": None}
        lora = [{**model, "id": name, "root": str(path), "parent": "tiny"} for name, path in self.adapters.items()]
        return [{**model, "max_model_len": 2048}, *lora]

    def _greedy(self, body: dict[str, Any], embeds: torch.Tensor) -> list[int]:
        model = self.lm.model
        if body["model"] in self.adapters:
            model = PeftModel.from_pretrained(deepcopy(model), self.adapters[body["model"]])
        ids: list[int] = []
        with torch.inference_mode():
            row = embeds.float().unsqueeze(0)  # (1, T, D)
            while len(ids) < body["max_tokens"]:
                logits = model(inputs_embeds=row).logits[0, -1]  # (V,)
                seen = torch.tensor(sorted(set(ids)), dtype=torch.long)
                by = body.get("repetition_penalty", 1.0)
                logits[seen] = torch.where(logits[seen] > 0, logits[seen] / by, logits[seen] * by)
                if (token := int(logits.argmax())) in body.get("stop_token_ids", ()):
                    break
                ids.append(token)
                row = torch.cat([row, self.lm.embed(torch.tensor([[token]]))], dim=1)
        return ids


@contextmanager
def transformers_serving(folder: Path, port: int = 0) -> Iterator[str]:
    """`transformers serve` in threads of this process, in float32, with the model of a folder."""
    from transformers.cli.serve import Serve

    if not port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    server = Serve(
        str(folder), device="cpu", dtype="float32", host="127.0.0.1", port=port, log_level="error", non_blocking=True
    )
    try:
        while not server.server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill_server()
