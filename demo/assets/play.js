// One answer a card and a pair: whatever is pressed before the next one lies there would be about nothing that is seen.
// A card that was answered fades at once; the server's word comes after. If it is a no, or does not come, the answer may
// be given again.
(() => {
  const tables = [
    ["#feed-like, #feed-dislike, #feed-skip", "#feed-card"],
    ["#choose-left, #choose-right, #choose-both, #choose-neither, #skip-pair", "#left-text"],
  ];
  const answered = new Map(), patience = 10_000;
  const lies = (place) => document.querySelector(`${place} [data-trial]`)?.dataset.trial ?? "";
  const show = () => {
    const trial = lies("#feed-card");
    const faded = trial !== "" && trial === answered.get("#feed-card");
    document.querySelector("#feed-card")?.classList.toggle("answered", faded);
  };
  document.addEventListener("click", (event) => {
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
      setTimeout(() => again(trial), patience);
    }
  }, true);
  const again = (trial) => {
    for (const [place, was] of answered) if (was === trial) answered.delete(place);
    show();
  };
  document.addEventListener("palate-refused", (event) => {
    for (const trial of answered.values()) if (event.detail.includes(trial)) again(trial);
  });
  new MutationObserver(show).observe(document, { childList: true, subtree: true });
})();
