// How long the texts of the trial on the table were in view, and whether the page was hidden meanwhile.
(() => {
  let trial = "", since = 0, viewed = 0, hidden = false;
  const stop = () => { if (since) viewed += performance.now() - since; since = 0; };
  const start = () => { since = document.hidden ? 0 : performance.now(); };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stop(); hidden = true; } else start();
  });
  new MutationObserver(() => {
    const now = document.querySelector("#left-text [data-trial]")?.dataset.trial ?? "";
    if (now === trial) return;
    trial = now; viewed = 0; hidden = document.hidden; start();
  }).observe(document, { childList: true, subtree: true, characterData: true });
  window.palateSeen = () => { stop(); start(); return [Math.round(viewed), hidden]; };
})();
