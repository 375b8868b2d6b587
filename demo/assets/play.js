// One answer a card and a pair: whatever is pressed before the next one lies there would be about nothing that is seen.
// A card that was answered fades at once; the server's word comes after.
(() => {
  const tables = [
    ["#feed-like, #feed-dislike, #feed-skip", "#feed-card"],
    ["#choose-left, #choose-right, #choose-both, #choose-neither, #skip-pair", "#left-text"],
  ];
  const answered = new Map();
  const lies = (place) => document.querySelector(`${place} [data-trial]`)?.dataset.trial ?? "";
  document.addEventListener("click", (event) => {
    if (event.target.closest("#feed-undo")) answered.delete("#feed-card"); // it may come back
    for (const [buttons, place] of tables) {
      if (!event.target.closest(buttons)) continue;
      const trial = lies(place);
      if (!trial || trial === answered.get(place)) {
        event.preventDefault();
        event.stopImmediatePropagation();
        return;
      }
      answered.set(place, trial);
      show();
    }
  }, true);
  const show = () => {
    const trial = lies("#feed-card");
    const faded = trial !== "" && trial === answered.get("#feed-card");
    document.querySelector("#feed-card")?.classList.toggle("answered", faded);
  };
  document.addEventListener("palate-refused", () => { answered.clear(); show(); });
  new MutationObserver(show).observe(document, { childList: true, subtree: true });
})();
