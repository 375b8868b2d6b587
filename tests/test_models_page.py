"""The Models page in headless Chromium: what fits, a download with a stop, a change without a restart."""

from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page
from transformers import LlamaConfig, LlamaForCausalLM

from engine.backbone import Backbone
from studies import settings
from studies.benchmarks.app_process import AppProcess
from studies.store import ME, Store
from tests.hub import serving
from tests.test_browser import shot, text_of, wait_for_card, wait_for_pair


@pytest.fixture(scope="module")
def wide(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights are large enough to be fetched with progress: 25 MB."""
    folder = tmp_path_factory.mktemp("wide") / "wide-model"
    torch.manual_seed(1)
    config = LlamaConfig(**{**tiny.model.config.to_dict(), "hidden_size": 64, "head_dim": 16})
    LlamaForCausalLM(config).save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    return folder


def note(page: Page, said: str, patience: float = 90_000) -> None:
    page.wait_for_function(f"document.querySelector('#model-note').innerText.includes({said!r})", timeout=patience)


def test_another_model_is_fetched_stopped_and_used(
    chromium, tiny_folder: Path, wide: Path, tmp_path, monkeypatch
) -> None:
    with serving(wide) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        hub.delay = 0.02
        app = AppProcess(tmp_path / "data", "--model", str(tiny_folder))
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        page: Page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        try:
            page.goto(app.url)
            wait_for_card(page)
            page.keyboard.press("c")
            wait_for_pair(page)
            pair = text_of(page, "#left-text")
            assert "Qwen" not in page.content(), "no model is named before it is asked for"
            page.keyboard.press("m")
            page.wait_for_function("document.querySelector('#models-table').innerText.includes('Qwen/Qwen3-0.6B')")
            table = page.inner_text("#models-table")
            assert "SmolLM2-135M-Instruct (built in)" in table
            assert "llama3.2, to be accepted" in table
            assert "2,048 tokens at once" in page.inner_text("#models-now")
            assert page.inner_text("#models-now").count("tiny-model") == 1
            page.screenshot(path=shot("models"), full_page=True)
            page.click("#model-choice input")
            page.get_by_role("option", name="meta-llama/Llama-3.2-1B-Instruct").click()
            page.wait_for_function(
                "document.querySelector('#model-about').innerText.includes('licence accepted first')"
            )

            page.fill("#model-other input, #model-other textarea", hub.name)
            page.click("#model-use")
            note(page, "GB are here")
            page.wait_for_timeout(2_000)  # so that there is something to go on from
            page.screenshot(path=shot("models-fetching"), full_page=True)
            page.click("#model-stop")
            note(page, "the next time goes on there")
            page.wait_for_timeout(1_000)  # a press while the one before is under way is not heard
            hub.delay = 0.0
            page.fill("#model-other input, #model-other textarea", hub.name)
            page.click("#model-use")
            note(page, "someone/model writes from now on")
            assert [told for name, told in hub.ranges if name == "model.safetensors"][-1] > "bytes=1"
            page.wait_for_function("document.querySelector('#models-now').innerText.includes('someone/model')")
            page.click("#preset label:nth-of-type(3)")
            page.set_viewport_size({"width": 390, "height": 844})
            page.wait_for_timeout(300)
            page.screenshot(path=shot("models-phone"), full_page=True)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, f"a phone would have to scroll sideways: {width} px"

            page.fill("#model-other input, #model-other textarea", "./not-there")
            page.click("#model-use")
            note(page, "no model folder")
            page.keyboard.press("c")
            wait_for_pair(page)
            assert text_of(page, "#left-text") == pair, "what lies on the table stays"
            page.keyboard.press("ArrowLeft")
            page.wait_for_selector("#reveal .told")
        finally:
            context.close()
            app.end()
    assert errors == []
    said = app.said()  # a model of random weights may write nothing that can be shown, and the app says so
    assert said.count("Traceback") == said.count("RuntimeError: the model wrote nothing that could be shown")
    assert settings.read(tmp_path / "data") == settings.Settings("someone/model", "auto", "wild")
    store = Store(tmp_path / "data")
    assert len(store.ballots()) == 1
    assert len({row["engine"] for row in store.db.rows("select engine from trial where rater = :me", me=ME)}) == 2


def test_hosted_the_owner_chooses(chromium, tiny_folder: Path, tmp_path: Path) -> None:
    app = AppProcess(tmp_path / "data", "--model", str(tiny_folder), "--hosted")
    context = chromium.new_context()
    page: Page = context.new_page()
    try:
        page.goto(app.url)
        wait_for_card(page)
        page.keyboard.press("m")
        page.wait_for_function("document.querySelector('#models-now').innerText.includes('tiny-model')")
        assert "Whoever runs this site" in page.inner_text("#models-now")
        assert page.locator("#model-use").count() == 0
    finally:
        context.close()
        app.end()
    assert not (tmp_path / "data" / settings.FILE).exists()
