// Before the first paint: the theme that was chosen here, else the one of the system.
try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is closed to this page; the system's theme holds.
}
