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
  // A table that scrolls is scrolled with the arrow keys, too.
  for (const table of document.querySelectorAll(".cell_output table.dataframe")) table.tabIndex = 0;
});
