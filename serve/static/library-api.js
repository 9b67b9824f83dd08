// Requests to the library, and what several parts of the page know about it.

import { attempt } from "./notices.js";
import { Problem, UNREACHED, readProblem } from "./service.js";

const base = new URL(document.body.dataset.library, location.href.replace(/#.*/, ""));
const service = base.href.slice(0, -"v1/library".length);

const parameters = (values) => {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of [value].flat()) if (one !== "" && one !== null && one !== undefined) query.append(name, one);
  }
  return query;
};

async function ask(path, { query = {}, body, method = body ? "POST" : "GET", token = "" } = {}) {
  const options = { method, headers: {} };
  if (body) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  if (token) options.headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(`${base.href}${path}?${parameters(query)}`, options);
  } catch {
    throw new Problem(UNREACHED);
  }
  if (!response.ok) throw readProblem(response.status, await response.text(), response.headers.get("Retry-After"));
  return response;
}

/** An answer as an object. */
export const query = async (path, options) => (await ask(path, options)).json();

/** Address of a track's audio. */
export const audioUrl = (track) => service + track.audio.slice(1);

/** Let the browser save an answer as a file. */
export async function save(path, options, name) {
  const blob = await (await ask(path, options)).blob();
  const anchor = document.createElement("a");
  anchor.download = name;
  anchor.href = URL.createObjectURL(blob);
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
}

/** What is in the library. It is asked for once. */
export const about = query("");

// ------------------------------------------------------------------ tracks

const known = new Map();
const MOST = 100; // Tracks of one request.

/** Tracks by their numbers, in this order; those that are gone are left out. */
export async function tracksOf(ids) {
  const missing = [...new Set(ids)].filter((id) => !known.has(id));
  for (let i = 0; i < missing.length; i += MOST) {
    const { tracks } = await query("/tracks", { query: { id: missing.slice(i, i + MOST) } });
    for (const track of tracks) known.set(track.id, track);
  }
  return ids.map((id) => known.get(id)).filter(Boolean);
}

// ------------------------------------------------------------------ errors

export { attempt };

// ------------------------------------------------------------------ likes

const opinions = new Map(); // Track -> kind (like, skip or rating), and stars of a rating.
const starsOfValue = (value) => Math.round(2 * value + 3);

/** Stars of a track, 1 to 5; 0 if it has none. */
export const starsOf = (id) => opinions.get(id)?.stars ?? 0;

about.then(async () => {
  const { preferences } = await query("/preferences");
  for (const { track, kind, value } of preferences) {
    if (track) opinions.set(track.id, kind === "rating" ? { kind, stars: starsOfValue(value) } : { kind });
  }
  showOpinions();
}).catch(() => {}); // What asks next says what is wrong.

function showOpinions() {
  for (const button of document.querySelectorAll(".opinions button")) {
    button.setAttribute("aria-pressed", opinions.get(Number(button.dataset.track))?.kind === button.dataset.kind);
  }
  document.dispatchEvent(new Event("opinions"));
}

/** The token that this tab of the browser knows, or the one that its user gives now. */
function askForToken() {
  const dialog = document.getElementById("token");
  const text = document.getElementById("token-text");
  text.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const form = document.getElementById("token-form");
    const use = () => resolve(text.value.trim());
    form.addEventListener("submit", use, { once: true });
    dialog.addEventListener("close", () => {
      form.removeEventListener("submit", use);
      resolve("");
    }, { once: true });
  });
}

/** Like or skip a track or give it stars; said again, it is taken back. */
export async function setOpinion(id, kind, stars) {
  const token = sessionStorage.getItem("library-token") || (await askForToken());
  if (!token) {
    showOpinions(); // What was chosen does not hold.
    return;
  }
  await attempt(async () => {
    try {
      const before = opinions.get(id);
      if (before?.kind === kind && before.stars === stars) {
        await query("/preferences", { method: "DELETE", query: { track: id }, token });
        opinions.delete(id);
      } else {
        await query("/preferences", { body: { track: id, kind, stars }, token });
        opinions.set(id, { kind, stars });
      }
      sessionStorage.setItem("library-token", token);
    } catch (error) {
      if (error.status === 401) sessionStorage.removeItem("library-token");
      throw error;
    }
  });
  showOpinions();
}

const SIGNS = { like: "M12 20.5 4.6 13A4.8 4.8 0 0 1 11.4 6l.6.7.6-.7a4.8 4.8 0 0 1 6.8 7Z", skip: "M5 5l9 7-9 7ZM18 5v14" };

/** Buttons to like and to skip a track; none if the library is read-only. */
export async function opinionButtons(track) {
  if (!(await about).writable) return [];
  return ["like", "skip"].map((kind) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = `icon opinion-${kind}`;
    button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${SIGNS[kind]}"/></svg>`;
    button.setAttribute("aria-label", `${kind === "like" ? "Like" : "Skip"} ${track.name}`);
    button.title = kind === "like" ? "Like" : "Skip";
    Object.assign(button.dataset, { track: track.id, kind });
    button.setAttribute("aria-pressed", opinions.get(track.id)?.kind === kind);
    button.addEventListener("click", () => setOpinion(track.id, kind));
    return button;
  });
}
