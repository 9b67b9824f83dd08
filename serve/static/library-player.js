// The player at the bottom of the page: one track of the library at a time, or a list of them.

import { feeling } from "./affect.js";
import { clock } from "./charts.js";
import { audioUrl, opinionButtons } from "./library-api.js";

const $ = (id) => document.getElementById(id);
const audio = new Audio();
let queue = [];
let current = null;

/** Tells of "track" (another one), "state" (plays or not) and "time". */
export const player = new EventTarget();
const tell = (kind) => player.dispatchEvent(new Event(kind));

export const playing = () => (audio.paused ? null : current);
export const currentTrack = () => current;
export const playerTime = () => audio.currentTime;

/** Play a track from a second on, then others. */
export async function play(track, { from = 0, next = [] } = {}) {
  queue = [...next];
  $("player").hidden = false;
  $("player-error").textContent = "";
  if (current?.id !== track.id) {
    current = track;
    audio.src = audioUrl(track);
    $("player-name").textContent = track.name;
    $("player-mood").textContent = track.quadrant ? feeling(track) : "";
    $("player-opinions").replaceChildren(...(await opinionButtons(track)));
    tell("track");
  }
  $("player-next").hidden = queue.length === 0;
  audio.currentTime = from;
  try {
    await audio.play();
  } catch (error) {
    if (error.name === "AbortError") return; // Another track was chosen meanwhile.
    if (current === track) $("player-error").textContent = "This browser cannot play this file.";
  }
}

export const pause = () => audio.pause();

/** Play a track, or pause it if it plays. */
export function toggle(track, options) {
  if (current?.id === track.id && !audio.paused) audio.pause();
  else if (current?.id === track.id && audio.currentTime > 0 && !audio.ended) audio.play();
  else play(track, options);
}

function skip() {
  const [first, ...rest] = queue;
  if (first) play(first, { next: rest });
}

function showState() {
  $("player-play").classList.toggle("playing", !audio.paused);
  $("player-play").setAttribute("aria-label", audio.paused ? "Play" : "Pause");
  tell("state");
}

for (const event of ["play", "pause", "ended"]) audio.addEventListener(event, showState);
audio.addEventListener("ended", skip);
audio.addEventListener("timeupdate", () => {
  const length = Number.isFinite(audio.duration) ? audio.duration : (current?.seconds ?? 0);
  $("player-time").textContent = clock(audio.currentTime);
  $("player-length").textContent = clock(length);
  $("player-seek").max = length || 1;
  $("player-seek").value = audio.currentTime;
  $("player-seek").setAttribute("aria-valuetext", `${clock(audio.currentTime)} of ${clock(length)}`);
  tell("time");
});
$("player-play").addEventListener("click", () => current && toggle(current));
$("player-next").addEventListener("click", skip);
$("player-seek").addEventListener("input", ({ target }) => (audio.currentTime = Number(target.value)));
document.addEventListener("tabshown", ({ detail }) => {
  // The other tabs have their own sound.
  if (detail !== "library") audio.pause();
  $("player").classList.toggle("away", detail !== "library");
});
