// What went wrong, above the tabs.

import { Problem } from "./service.js";

const box = document.getElementById("library-error");

/** Run something that asks the service, and show what went wrong with it. */
export async function attempt(work) {
  box.hidden = true;
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    box.textContent = error.message;
    box.hidden = false;
    box.scrollIntoView({ block: "nearest" });
    return null;
  }
}
