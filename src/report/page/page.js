"use strict";
(function () {
  const root = document.documentElement;
  root.classList.add("js");
  const keep = (value) => { try { localStorage.setItem("ipcost-theme", value); } catch (error) { /* not kept */ } };
  try {
    const kept = localStorage.getItem("ipcost-theme");
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  } catch (error) { /* storage may be forbidden */ }
  document.getElementById("theme").addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const next = (root.dataset.theme || system) === "dark" ? "light" : "dark";
    root.dataset.theme = next;
    keep(next);
  });

  // Paper cannot be unfolded; the values below figures stay away.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = Array.from(document.querySelectorAll("details:not([open]):not(.data)"));
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => { for (const fold of opened) fold.open = false; });

  const plain = (cell) => cell.dataset.v !== undefined ? cell.dataset.v : (cell.firstChild ? cell.firstChild.textContent : "");
  const number = (text) => text.trim() === "" ? NaN : Number(text);

  const sort = (table, head, index) => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows).map((row) => [plain(row.cells[index]), row]);
    const order = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const [x, y] = [number(a), number(b)];
      const found = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en") : x - y;
      return up ? found : -found;
    };
    rows.sort(([a], [b]) => order(a, b)).forEach(([, row]) => body.append(row));
  };

  for (const table of document.querySelectorAll("table")) {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach((head, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(table, head, index));
    });
  }

  // A name that begins like a formula must not become one in a spreadsheet.
  const tame = (text) => /^[=+\-@]/.test(text) && Number.isNaN(number(text)) ? "'" + text : text;
  const quoted = (text) => /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  const csv = (table) => {
    const lines = Array.from(table.rows).map((row) => Array.from(row.cells).flatMap((cell) => {
      const small = cell.querySelector("small");
      const own = cell.querySelector("button") ? cell.textContent : plain(cell);
      return small && !cell.matches("th") ? [own + " (" + small.textContent + ")"] : [own];
    }).map((text) => quoted(tame(text.trim()))).join(","));
    return lines.join("\n") + "\n";
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.csv");
    if (!button) return;
    const table = document.getElementById(button.dataset.of);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
    link.download = table.dataset.name + ".csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}());
