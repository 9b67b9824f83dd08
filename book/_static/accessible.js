// What the theme and pandas leave undone for readers with a keyboard or a screen reader.
document.addEventListener("DOMContentLoaded", () => {
  // Buttons are called what stands on them; the three icons of the colour mode's are silent.
  for (const button of document.querySelectorAll(".search-button__button, details.hide > summary"))
    if (button.textContent.trim()) button.removeAttribute("aria-label");
  for (const icon of document.querySelectorAll(".theme-switch")) {
    icon.removeAttribute("title");
    icon.querySelector("title")?.remove();
    icon.setAttribute("aria-hidden", "true");
  }
  // An arrow that unfolds chapters says whose.
  for (const arrow of document.querySelectorAll(".bd-sidenav details > summary"))
    arrow.setAttribute("aria-label", `Chapters: ${arrow.closest("li").querySelector("a").textContent.trim()}`);
  // The book's title in the sidebar lies outside every landmark.
  document.querySelector(".bd-sidebar-primary .sidebar-primary-item")?.setAttribute("role", "banner");
  // The corner of a table heads nothing.
  for (const corner of document.querySelectorAll("table.dataframe th:empty"))
    corner.replaceWith(document.createElement("td"));
  const tables = [...document.querySelectorAll(".cell_output table.dataframe")];
  tables.forEach(nameCells);
  // A table that still scrolls is scrolled with the arrow keys, too.
  const fitAll = () => tables.forEach((table) => {
    fit(table);
    if (overflows(table)) table.tabIndex = 0;
    else table.removeAttribute("tabindex");
  });
  fitAll();
  document.fonts.ready.then(fitAll);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) fitAll();
    width = innerWidth;
  });
});

const overflows = (table) => table.scrollWidth > table.clientWidth + 1;

// No column of a table lies off the screen: first its cells become narrow, then each row becomes a
// list of its values with their names.
function fit(table) {
  for (const step of ["", "narrow", "stacked"]) {
    table.classList.remove("narrow", "stacked");
    if (step) table.classList.add(step);
    if (!overflows(table)) return;
  }
}

// Each value gets the name of its column, and the parts of a table keep their roles as lists.
function nameCells(table) {
  const names = [];
  for (const row of table.tHead?.rows ?? []) {
    let column = 0;
    for (const cell of row.cells)
      for (let k = 0; k < cell.colSpan; k++, column++) {
        const text = cell.textContent.trim();
        if (text && !names[column]?.includes(text)) names[column] = [...(names[column] ?? []), text];
      }
  }
  const last = Math.max(...[...table.rows].map((row) => [...row.cells].reduce((n, cell) => n + cell.colSpan, 0)));
  for (const body of table.tBodies)
    for (const row of body.rows) {
      const values = [...row.cells].filter((cell) => cell.tagName === "TD");
      values.forEach((cell, k) => (cell.dataset.name = (names[last - values.length + k] ?? []).join(", ")));
    }
  table.setAttribute("role", "table");
  for (const part of table.querySelectorAll("thead, tbody")) part.setAttribute("role", "rowgroup");
  for (const row of table.rows) {
    row.setAttribute("role", "row");
    for (const cell of row.cells)
      cell.setAttribute("role", cell.tagName === "TD" ? "cell" : row.parentElement.tagName === "THEAD" ? "columnheader" : "rowheader");
  }
}
