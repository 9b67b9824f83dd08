// The tabs of the page. The part after # in the address names the one that is shown.

const tabs = [...document.querySelectorAll('[role="tab"]')];
const panelOf = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
const nameOf = (tab) => tab.id.replace("tab-button-", "");
const loaded = {};

/** The module of a tab is loaded when the tab is first shown. */
function load(name) {
  if (name === "library") loaded.library ??= import("./library.js");
  if (name === "scenes") loaded.scenes ??= import("./scenes.js");
  if (name === "compose") loaded.compose ??= import("./compose.js");
}

function show(name, focus = false) {
  const chosen = tabs.find((tab) => nameOf(tab) === name) ?? tabs[0];
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", tab === chosen);
    tab.tabIndex = tab === chosen ? 0 : -1;
    panelOf(tab).hidden = tab !== chosen;
  }
  document.body.dataset.tab = nameOf(chosen);
  document.getElementById("library-error").hidden = true;
  load(nameOf(chosen));
  if (focus) chosen.focus();
  document.dispatchEvent(new CustomEvent("tabshown", { detail: nameOf(chosen) }));
}

for (const tab of tabs) {
  tab.addEventListener("click", () => {
    history.replaceState(null, "", `#${nameOf(tab)}`);
    show(nameOf(tab));
  });
  tab.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length];
    history.replaceState(null, "", `#${nameOf(next)}`);
    show(nameOf(next), true);
  });
}
addEventListener("hashchange", () => {
  const name = location.hash.slice(1);
  if (tabs.some((tab) => nameOf(tab) === name)) show(name); // Others are places of the page.
});
show(location.hash.slice(1));
