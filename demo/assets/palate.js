// Keys press the buttons a person sees: what a key does is exactly what its button does.
(() => {
  const keys = {
    ArrowLeft: ["#feed-dislike", "#feed-dislike-mark", "#choose-left", "#write-older"],
    ArrowRight: ["#feed-like", "#feed-like-mark", "#choose-right", "#write-newer"],
    ArrowUp: ["#choose-both"],
    ArrowDown: ["#choose-neither"],
    s: ["#feed-skip", "#skip-pair"],
    u: ["#feed-undo", "#undo"],
    n: ["#next-pair"],
    1: ["#mark-1", "#left-marks label:nth-of-type(1) input"],
    2: ["#mark-2", "#right-marks label:nth-of-type(1) input"],
    3: ["#mark-3", "#left-marks label:nth-of-type(2) input"],
    4: ["#mark-4", "#right-marks label:nth-of-type(2) input"],
    5: ["#mark-5"],
    "?": ["#help-keys > summary"],
    Escape: ["#write-stop"],
  };
  const tabs = { f: "feed", c: "compare", w: "write", r: "results", t: "train", m: "models", a: "about" };
  const seen = (element) => element && element.offsetParent !== null;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey && event.key === "Enter" && seen(document.querySelector("#write-go"))) {
      document.activeElement?.blur(); // so that what was typed is sent along
      return setTimeout(() => document.querySelector("#write-go").click());
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const writable = "textarea, select, [contenteditable=true], [role=grid][aria-readonly=false], input:not([type=checkbox], [type=radio])";
    const typing = event.target.closest(writable);
    if ((typing && event.key !== "Escape") || (event.target.type === "radio" && event.key.startsWith("Arrow"))) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (tabs[key] && window.palate) {
      event.preventDefault();
      return window.palate.open(tabs[key]);
    }
    for (const selector of keys[key] ?? []) {
      const element = document.querySelector(selector);
      if (seen(element)) {
        event.preventDefault();
        event.stopImmediatePropagation();
        element.click();
        return;
      }
    }
  }, true);
})();
