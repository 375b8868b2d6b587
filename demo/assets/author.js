// Study: the file goes to the downloads of the browser as it is typed, and a line that is wrong can be gone to.
window.palate.download = (name, text) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/toml" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
};
document.addEventListener("click", (event) => {
  const line = Number(event.target.closest?.("[data-line]")?.dataset.line), box = document.querySelector("#study-text textarea");
  if (!line || !box) return;
  const lines = box.value.split("\n"), start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  box.focus();
  box.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
  box.scrollTop = (box.scrollHeight / lines.length) * Math.max(0, line - 4);
});
