// The feed: at most four cards in the page, the last answered, the one in view and two to come. An answer shows at once
// and goes to the server after those before it; if it is refused, its card comes back.
window.palate.when("#feed", (feed) => {
  const { call, seen, make, reach } = window.palate;
  const by = (selector) => document.querySelector(selector);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const SAID = { like: "Liked", dislike: "Not liked", skip: "Skipped" };
  const SWIPE = 80, SETTLED = 250, UNDO = 5_000, AGAIN = 3_000; // pixels, then milliseconds
  const answered = new Set(); // what the server may still count as open while the word is under way
  let cards = [], past = null, line = Promise.resolve(), held = 0, viewed = 0, waiting = false, timer = 0, eager = "";

  const draw = (card) => {
    const element = make("article", "card");
    const text = make("div", "said", card.text);
    text.dir = "auto";
    text.dataset.trial = card.id;
    element.append(text, make("p", "source"));
    swipes(element);
    return element;
  };
  const blank = (words) => {
    const element = make("article", words ? "card empty" : "card skeleton");
    if (!words) element.setAttribute("aria-label", "the next card is coming");
    element.append(make("div", "said", words || "..."));
    return element;
  };
  // The page shows what is in `past` and `cards`; elements that stay are not touched, so nothing jumps.
  const show = (empty = "") => {
    const wanted = [past, ...cards].filter(Boolean);
    if (!cards.length) wanted.push({ element: blank(empty) });
    for (const card of wanted) card.element ??= draw(card);
    const kept = new Set(wanted.map((card) => card.element));
    const above = feed.scrollTop;
    let gone = 0;
    for (const element of [...feed.children]) {
      if (kept.has(element)) continue;
      if (element.offsetTop - feed.offsetTop < above) gone += element.offsetHeight;
      element.remove();
    }
    wanted.forEach((card, place) => {
      if (feed.children[place] !== card.element) feed.insertBefore(card.element, feed.children[place] ?? null);
    });
    feed.querySelector("#feed-card")?.removeAttribute("id");
    (cards[0] ?? wanted.at(-1)).element.id = "feed-card";
    if (gone) feed.scrollTo({ top: above - gone, behavior: "instant" });
    for (const card of wanted) reach(card.element.querySelector(".said"));
  };
  const toNow = (smoothly) => {
    const now = by("#feed-card");
    held = performance.now() + SETTLED;
    feed.scrollTo({ top: now.offsetTop - feed.offsetTop, behavior: smoothly && !calm.matches ? "smooth" : "instant" });
  };

  const tell = (words, undoable) => {
    const said = by("#feed-said");
    said.textContent = words;
    said.classList.toggle("undoable", undoable);
    clearTimeout(timer);
    if (undoable) timer = setTimeout(() => said.classList.remove("undoable"), UNDO);
  };
  const note = (told) => {
    by("#feed-note").textContent = told.note;
    const begun = told.likes + told.dislikes;
    by("#hello").hidden = told.votes > 0 || begun >= 10;
    by("#hello-pair").hidden = told.votes > 0 || begun < 10;
    by("#hello-bar").value = begun;
    by("#hello-count span").textContent = begun ? `${begun} of 10` : "";
    by("#hello-small").hidden = !told.small;
  };
  const take = (told) => {
    const known = new Set(cards.map((card) => card.id));
    cards.push(...told.cards.filter((card) => !known.has(card.id) && !answered.has(card.id)));
    note(told);
    show(told.cards.length ? "" : told.empty);
    if (!cards.length) later();
  };
  const later = () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => { waiting = false; load(); }, AGAIN);
  };
  const load = () => (line = line.then(() => call("cards")).then(take).catch(() => { if (!cards.length) later(); }));

  const answer = (choice) => {
    const card = cards[0];
    if (!card || performance.now() < held || !seen(feed)) return;
    if (!card.id) return (eager = choice); // just taken back, and its new name is on its way
    const time = Math.round(viewed);
    viewed = 0;
    cards.shift();
    past = card;
    answered.add(card.id);
    card.element.classList.add("answered", choice);
    card.element.querySelector(".source").textContent = SAID[choice];
    tell(SAID[choice], true);
    by("#feed-why").hidden = true;
    show();
    toNow(true);
    line = line.then(() => call("swipe", card.id, choice, time)).then((told) => {
      card.element.querySelector(".source").textContent = `${SAID[choice]}: ${told.said}`;
      if (past === card) {
        tell(`${SAID[choice]}. That one was ${told.said}.`, by("#feed-said").classList.contains("undoable"));
        by("#feed-why").hidden = choice !== "like";
        by("#feed-why input").value = "";
        by("#feed-why").dataset.card = card.id;
      }
      take(told);
    }).catch(() => back(card, choice));
  };
  // The server said no, or nothing: the card may be answered again.
  const back = (card, choice) => {
    card.element.classList.remove("answered", choice);
    card.element.querySelector(".source").textContent = "";
    if (past === card) past = null;
    answered.delete(card.id);
    cards.unshift(card);
    tell("", false);
    show();
    toNow(false);
  };
  const undo = () => {
    const card = past;
    past = null;
    if (card) {
      card.element.remove();
      cards.unshift({ text: card.text, id: "" }); // it gets a new name from the server
      show();
      toNow(false);
    }
    tell("", false);
    by("#feed-why").hidden = true;
    line = line.then(() => call("undo_card")).then((told) => {
      cards = [];
      viewed = 0;
      take(told);
      tell("Taken back.", false);
      toNow(false);
      const choice = eager;
      eager = "";
      held = 0;
      if (choice) answer(choice);
    }).catch(() => { cards = cards.filter((one) => one.id); load(); });
  };

  // One finger sideways: like to the right, dislike to the left. Up and down is scrolling.
  const swipes = (element) => {
    let from = null;
    element.addEventListener("pointerdown", (event) => { if (event.isPrimary && event.pointerType !== "mouse") from = event; });
    element.addEventListener("pointermove", (event) => {
      if (!from || element.id !== "feed-card") return;
      const far = event.clientX - from.clientX;
      if (!calm.matches) element.style.transform = `translateX(${far}px) rotate(${far / 40}deg)`;
      element.dataset.leaning = far > SWIPE ? "like" : far < -SWIPE ? "dislike" : "";
    });
    const end = (event) => {
      if (!from) return;
      const far = event.clientX - from.clientX;
      from = null;
      element.style.transform = "";
      element.dataset.leaning = "";
      if (event.type === "pointerup" && element.id === "feed-card" && Math.abs(far) > SWIPE) answer(far > 0 ? "like" : "dislike");
    };
    element.addEventListener("pointerup", end);
    element.addEventListener("pointercancel", end);
  };
  // Whoever scrolls on has skipped.
  let settled = 0;
  feed.addEventListener("scroll", () => {
    clearTimeout(settled);
    settled = setTimeout(() => {
      const next = cards[1]?.element, there = next && next.offsetTop - feed.offsetTop;
      if (next && Math.abs(feed.scrollTop - there) < 8 && performance.now() > held) answer("skip");
    }, 150);
  });
  // How long a card was looked at: while the page is seen and in front, and not while a phone sleeps.
  let before = performance.now();
  setInterval(() => {
    const now = performance.now(), passed = now - before;
    before = now;
    if (!document.hidden && document.hasFocus() && seen(feed) && cards[0]) viewed += Math.min(passed, 500);
  }, 100);

  for (const choice of ["like", "dislike", "skip"]) by(`#feed-${choice}`).addEventListener("click", () => answer(choice));
  by("#feed-undo").addEventListener("click", undo);
  by("#feed-why input").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    const why = by("#feed-why");
    line = line.then(() => call("say_why", why.dataset.card, event.target.value)).then((told) => {
      why.hidden = true;
      by("#feed-note").textContent = told;
    }).catch(() => {});
  });
  show();
  load();
});
