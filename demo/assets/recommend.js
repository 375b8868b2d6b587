// Recommend: a press likes or dislikes a post, a second press takes that back. What the server refuses is not shown as done.
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-post]");
  if (!button || button.closest(".post").dataset.sending) return;
  const post = button.closest(".post"), both = [...post.querySelectorAll("[data-post]")];
  const was = both.map((one) => one.getAttribute("aria-pressed"));
  const choice = button.getAttribute("aria-pressed") === "true" ? "" : button.dataset.say;
  post.dataset.sending = "yes";
  for (const one of both) one.setAttribute("aria-pressed", String(one.dataset.say === choice));
  try {
    document.querySelector("#recommend-note").textContent = await window.palate.call("react_to_post", button.dataset.post, choice);
  } catch {
    both.forEach((one, n) => one.setAttribute("aria-pressed", was[n]));
  }
  delete post.dataset.sending;
});
