// What the server refuses, and that it does not answer, in words that a person sees and a screen reader says, until
// they press something. Gradio shows a handler's error only where the call went through its queue, and votes do not.
// What the page asks by itself every few seconds says the same words once, and once the server answers again nothing.
(() => {
  const AWAY = "Palate does not answer. What was stored is safe, and this page goes on once it is there again.";
  let box, pressed = true;
  document.addEventListener("click", () => { pressed = true; if (box) box.hidden = true; }, true);
  const tell = (words, asked) => {
    document.dispatchEvent(new CustomEvent("palate-refused", { detail: String(asked[1]?.body ?? "") }));
    if (box && !pressed && box.textContent === words) return;
    if (!box) {
      box = document.createElement("div");
      box.id = "refusal";
      box.setAttribute("role", "alert");
      document.body.append(box);
    }
    pressed = false;
    box.textContent = words;
    box.hidden = false;
  };
  const ask = window.fetch;
  window.fetch = async (...asked) => {
    if (!String(asked[0]?.url ?? asked[0]).includes("/run/predict")) return ask(...asked);
    try {
      const reply = await ask(...asked);
      if (!reply.ok) {
        const told = await reply.clone().json().catch(() => ({}));
        tell(told.error || "That did not work: reload the page.", asked);
      } else if (box?.textContent === AWAY) {
        box.hidden = true;
        box.textContent = "";
      }
      return reply;
    } catch (error) {
      tell(AWAY, asked);
      throw error;
    }
  };
})();
