"use strict";
// Without this script the page has everything but sorting and copying.
for (const table of document.querySelectorAll("table.sort")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const number = (row) => row.cells[column].dataset.v;
      const text = (row) => row.cells[column].textContent;
      const rows = [...body.rows];
      const numbers = rows.some((row) => number(row) !== undefined);
      rows.sort((a, b) => {
        if (!numbers) return (down ? -1 : 1) * text(a).localeCompare(text(b), "en", { numeric: true });
        // What was not measured stays last in both directions.
        const [x, y] = [number(a), number(b)];
        if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
        return (down ? -1 : 1) * (x - y);
      });
      body.append(...rows);
    });
  });
}
for (const button of document.querySelectorAll("button.copy")) {
  const code = button.parentElement.querySelector("code");
  const say = (text) => {
    button.textContent = text;
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  const select = () => {
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    return document.execCommand("copy");
  };
  button.hidden = false;
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      say("Copied");
    } catch {
      say(select() ? "Copied" : "Press Ctrl-C");
    }
  });
}
// Paper has nothing to unfold.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
