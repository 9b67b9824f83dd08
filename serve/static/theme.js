// Before the first paint: set the theme that the user chose, if any.
try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // The page may not use storage. The theme of the system applies.
}
