// Blind pairs. Both texts, or pictures, come together, or the page says how long it will take and asks again each
// second: so a line that breaks, a phone that sleeps and a reload lose nothing. One vote a pair; names come with the
// server's yes.
window.palate.when("#pair", () => {
  const { call, seen, make, reach } = window.palate;
  const by = (selector) => document.querySelector(selector);
  const AGAIN = 1_000;
  const SIDES = ["left", "right"];
  let pair = "", asking = false, sending = false, began = 0;

  const written = (text) => {
    const said = make("div", "said", text);
    said.dir = "auto";
    return said;
  };
  const painted = async (where, place) => {
    const picture = new Image();
    picture.className = "painted";
    picture.alt = `${where === "left" ? "Left" : "Right"} picture`; // what it was told would name its arm
    picture.src = `${window.gradio_config.root}/${place}`;
    await picture.decode(); // neither is shown before both are there
    return picture;
  };
  const made = (told) => Promise.all(SIDES.map((where) => (told.pictures ? painted(where, told[where]) : written(told[where]))));
  const blank = () => {
    for (const where of SIDES) {
      by(`#${where}-text`).replaceChildren(written("..."));
      by(`#${where}-text`).classList.add("skeleton");
    }
  };
  const named = (where, pictures) => {
    const column = by(`#${where}-text`).parentElement, of = pictures ? "picture" : "text";
    column.setAttribute("aria-label", `${where === "left" ? "Left" : "Right"} ${of}`);
    column.querySelector("legend").textContent = `Marks of the ${where} ${of}`;
    column.querySelector(".ai").textContent = pictures ? "Looks AI" : "Sounds AI";
  };
  const ready = () => {
    for (const button of document.querySelectorAll("[data-choice]")) button.disabled = !pair || sending;
  };
  const lay = (told, shown) => {
    if (told.id !== pair) for (const box of document.querySelectorAll("#pair input")) box.checked = false;
    pair = told.id;
    SIDES.forEach((where, n) => {
      shown[n].dataset.trial = told.id;
      named(where, told.pictures);
      by(`#${where}-text`).classList.remove("skeleton");
      by(`#${where}-text`).replaceChildren(shown[n]);
      reach(shown[n]);
    });
    by("#pair-wait").hidden = true;
    by("#reveal").replaceChildren();
    ready();
  };
  const wait = (told) => {
    began ||= performance.now();
    const gone = (performance.now() - began) / 1000, bar = by("#pair-wait progress"), left = told.seconds_left;
    if (left) bar.value = Math.min(0.97, gone / (gone + left));
    else bar.removeAttribute("value");
    const turns = told.before ? ` ${told.before} ${told.before === 1 ? "text comes" : "texts come"} before it.` : "";
    const time = left ? `about ${Math.ceil(left)} s left` : "a few seconds";
    by("#pair-wait span").textContent = told.trouble
      ? `It did not work (${told.trouble}). Trying again.`
      : `Your pair is being written: ${time}.${turns}`;
    by("#pair-wait").hidden = false;
  };
  const next = async () => {
    if (asking) return;
    asking = true;
    pair = "";
    began = 0;
    by("#reveal").replaceChildren();
    ready();
    blank();
    while (asking) {
      const told = document.hidden ? null : await call("pair_now").catch(() => null);
      const shown = told?.id ? await made(told).catch(() => null) : null; // a picture that does not come is asked again
      if (shown) {
        asking = false;
        lay(told, shown);
        break;
      }
      if (told) wait(told.id ? { trouble: "the pictures did not come" } : told);
      await new Promise((go) => setTimeout(go, AGAIN));
    }
  };
  const reveal = (markup) => {
    by("#reveal").innerHTML = markup; // the server's own markup, with every text in it escaped
    if (innerWidth < 640) by("#reveal").scrollIntoView({ block: "nearest" });
  };
  const vote = async (choice) => {
    if (!pair || sending) return;
    const judged = pair;
    const marks = SIDES.map((where) => [...document.querySelectorAll(`#${where}-marks :checked`)].map((box) => box.value));
    sending = true;
    ready();
    const told = await call("vote", judged, choice, ...marks).catch(() => null);
    sending = false;
    if (told && pair === judged) {
      pair = "";
      reveal(told);
    }
    ready();
  };
  const undo = async () => {
    const told = await call("undo").catch(() => null);
    if (told) reveal(told);
  };

  document.addEventListener("click", (event) => {
    const choice = event.target.closest?.("[data-choice]")?.dataset.choice;
    if (choice) vote(choice);
  });
  by("#undo").addEventListener("click", undo);
  by("#next-pair").addEventListener("click", next);
  by("#reveal").addEventListener("change", (event) => {
    const { teach, pair: judged } = event.target.dataset, box = event.target;
    call("teach_from", judged, teach, box.checked).catch(() => { box.checked = !box.checked; });
  });

  const wish = by("#wish"), about = by("#wish-about"), subject = by("#wish-named");
  let granted = wish.elements.kind.value;
  const wanted = () => {
    subject.hidden = about.value !== "named";
    const what = about.value === "named" ? subject.value.trim() : about.value, kind = wish.elements.kind.value;
    if (about.value === "named" && !what) return subject.focus();
    call("wish", kind, what).then(() => {
      granted = kind;
      if (by("#reveal").children.length) next();
    }).catch(() => { wish.elements.kind.value = granted; });
  };
  wish.addEventListener("change", wanted);
  // with a mouse one goes on voting by arrow keys, which would else choose among the kinds
  wish.addEventListener("pointerup", () => setTimeout(() => { if (document.activeElement?.type === "radio") document.activeElement.blur(); }));
  wish.addEventListener("submit", (event) => { event.preventDefault(); wanted(); });

  document.addEventListener("visibilitychange", () => { if (!document.hidden && seen(by("#pair")) && !pair && !by("#reveal").children.length) next(); });
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#tab-compare-button") && !pair && !asking) next();
  });
  next();
});
