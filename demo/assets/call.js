// What the page's own scripts share: a verb of the server by its name, elements by selector, a tab by its name.
window.palate = (() => {
  const session = Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) => n.toString(16).padStart(2, "0")).join("");
  // The verb's first answer, or an error; what the server refuses in words is told by refusals.js.
  const call = async (name, ...data) => {
    const { root, api_prefix, dependencies } = window.gradio_config;
    const verb = dependencies.find((one) => one.api_name === name);
    const reply = await fetch(`${root}${api_prefix}/run/predict`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ fn_index: verb.id, data, session_hash: session }),
    });
    if (!reply.ok) throw new Error(`${name} was refused`);
    return (await reply.json()).data[0];
  };
  const seen = (element) => Boolean(element) && element.offsetParent !== null;
  // On a phone Gradio puts the last tabs into a menu, where they have a label and no id.
  const open = (tab) => {
    const menu = [...document.querySelectorAll("#tabs .overflow-dropdown button")];
    const there = document.querySelector(`#tab-${tab}-button`) ?? menu.find((one) => one.textContent.trim().toLowerCase() === tab);
    there?.click();
  };
  // A part of the page is made when its tab is opened first: run `begin` once it is there.
  const when = (selector, begin) => {
    const look = () => {
      const element = document.querySelector(selector);
      if (element) begin(element);
      else requestAnimationFrame(look);
    };
    look();
  };
  document.addEventListener("click", (event) => {
    const to = event.target.closest?.("[data-tab]");
    if (to) open(to.dataset.tab);
  });
  // A sentence of the summary that is wrong, on the Taste page: it goes at once.
  document.addEventListener("click", (event) => {
    const sentence = event.target.closest?.("[data-wrong]")?.dataset.wrong;
    if (sentence === undefined) return;
    call("call_wrong", sentence).then((markup) => {
      document.querySelector("#portrait .about").outerHTML = markup; // the server's own, every text in it escaped
    }).catch(() => {});
  });
  const make = (tag, className, text = "") => {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text; // never markup: texts are people's and models'
    return element;
  };
  // A text that scrolls is reached by the Tab key, any other would only be in the way.
  const reach = (text) => {
    if (text.scrollHeight > text.clientHeight + 1) text.tabIndex = 0;
    else text.removeAttribute("tabindex");
  };
  const copy = async (selector) => {
    const text = document.querySelector(selector)?.innerText ?? "";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(document.querySelector(selector));
      getSelection().removeAllRanges();
      getSelection().addRange(range); // marked, to be copied by hand, where the browser does not let us
    }
  };
  return { copy, call, seen, open, when, make, reach };
})();
