"use strict";
document.documentElement.classList.add("scripted");
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const shown = cell => cell.dataset.t ?? cell.textContent.trim();
const empty = value => value === "" || value === "–";
const text = cell => cell.dataset.v ?? shown(cell);

// Sort a table of cells by the column of a header button: numbers by value, texts by the alphabet, empty cells last.
function sort(button) {
  const head = button.closest("th"), table = head.closest("table"), column = head.cellIndex;
  const down = head.ariaSort === "ascending" || (head.ariaSort !== "descending" && table.tBodies[0].rows[0]?.cells[column].classList.contains("n"));
  const order = (first, second) => {
    const [a, b] = [first, second].map(row => text(row.cells[column]));
    if (empty(a) || empty(b)) return empty(a) - empty(b);
    const difference = isNaN(a) || isNaN(b) ? a.localeCompare(b, "en", {numeric: true}) : a - b;
    return down ? -difference : difference;
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
  all("th[aria-sort]", table).forEach(other => other.ariaSort = "none");
  head.ariaSort = down ? "descending" : "ascending";
}

// Return whether a row fits a filter: words that it contains, and KEY=VALUE, KEY~PART, KEY<NUMBER, KEY>NUMBER.
function fits(row, columns, words) {
  return words.every(word => {
    const [, key, sign, raw] = word.match(/^([^=~<>]+)([=~<>])(.*)$/) ?? [];
    if (!key || !(key.toLowerCase() in columns)) return row.textContent.toLowerCase().includes(word.toLowerCase());
    const cell = row.cells[columns[key.toLowerCase()]], value = shown(cell).toLowerCase(), wanted = raw.replaceAll('"', "").toLowerCase();
    if (sign === "=") return value === wanted || text(cell) === wanted;
    if (sign === "~") return value.includes(wanted);
    return sign === "<" ? parseFloat(text(cell)) < parseFloat(wanted) : parseFloat(text(cell)) > parseFloat(wanted);
  });
}

function filter(field) {
  const box = field.closest(".tools"), table = box.parentElement.querySelector("table.cells"), rows = [...table.tBodies[0].rows];
  const columns = Object.fromEntries(all("thead th[data-key]", table).map(head => [head.dataset.key.toLowerCase(), head.cellIndex]));
  const words = field.value.match(/(?:[^\s"]|"[^"]*")+/g) ?? [];
  rows.forEach(row => row.hidden = !fits(row, columns, words));
  box.querySelector("[role=status]").textContent = words.length ? `${rows.filter(row => !row.hidden).length} of ${rows.length} cells` : "";
}

// Return rows of a table as CSV with exact numbers.
function csv(table, rows) {
  const heads = all("thead th[data-key]", table), quoted = value => /[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const values = row => heads.flatMap(head => {
    const cell = row.cells[head.cellIndex];
    return head.dataset.high ? [cell.dataset.v ?? "", cell.dataset.high ?? ""] : [text(cell)];
  });
  const names = heads.flatMap(head => head.dataset.high ? [head.dataset.key, head.dataset.high] : [head.dataset.key]);
  return [names, ...rows.map(values)].map(line => line.map(quoted).join(",") + "\n").join("");
}

// Return rows of a table, as they are shown, as LaTeX for the package booktabs.
function latex(table, rows) {
  const heads = all("thead th[data-key]", table), signs = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "–": "--", "−": "$-$"};
  const escaped = value => value.replace(/[&%$#_{}]|[\\~^–−]/g, sign => signs[sign] ?? `\\${sign}`);
  const line = texts => `  ${texts.map(escaped).join(" & ")} \\\\`;
  const aligned = heads.map(head => rows[0]?.cells[head.cellIndex].classList.contains("n") ? "r" : "l").join("");
  const body = rows.map(row => line(heads.map(head => shown(row.cells[head.cellIndex]))));
  const head = line(heads.map(head => head.textContent.trim()));
  return [`\\begin{tabular}{${aligned}}`, "  \\toprule", head, "  \\midrule", ...body, "  \\bottomrule", "\\end{tabular}", ""].join("\n");
}

async function copy(content, status) {
  try {
    await navigator.clipboard.writeText(content);
  } catch {
    const field = Object.assign(document.createElement("textarea"), {value: content});
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  status.textContent = "copied";
}

for (const table of all("table.cells")) {
  const status = table.closest(".scroll").parentElement.querySelector("[role=status]");
  all("thead th[data-key]", table).forEach(head => head.ariaSort = "none");
  all("thead button", table).forEach(button => button.onclick = () => sort(button));
  table.tHead.rows[0].insertAdjacentHTML("beforeend", '<th scope="col"><span class="hidden">copy</span></th>');
  for (const row of table.tBodies[0].rows) {
    const button = Object.assign(document.createElement("button"), {type: "button", textContent: "copy", title: "Copy this row as CSV"});
    button.onclick = () => copy(csv(table, [row]), status);
    row.insertCell().append(button);
  }
}
all(".filter").forEach(field => field.oninput = () => filter(field));
all("[data-copy]").forEach(button => button.onclick = () => {
  const box = button.closest(".tools"), table = box.parentElement.querySelector("table.cells");
  copy({csv, latex}[button.dataset.copy](table, [...table.tBodies[0].rows].filter(row => !row.hidden)), box.querySelector("[role=status]"));
});

// Highlight everything of the source under the pointer or in focus.
function highlight(event) {
  const source = event.target.closest?.("svg [data-s]")?.dataset.s;
  document.body.classList.toggle("focused", source !== undefined);
  if (source !== undefined) all("[data-s]").forEach(part => part.classList.toggle("same", part.dataset.s === source));
}
["pointerover", "focusin"].forEach(name => document.addEventListener(name, highlight));
