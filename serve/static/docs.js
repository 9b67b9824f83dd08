// The commands on the page name the address under which the reader sees it. Behind a proxy the
// service does not know its scheme, its host and its path prefix.

const { host } = document.body.dataset;
const here = new URL(".", location.href).href.slice(0, -1);

for (const code of document.querySelectorAll("pre code")) {
  if (here !== host && code.textContent.includes(host)) code.textContent = code.textContent.replaceAll(host, here);
}
