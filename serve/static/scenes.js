// The Scenes tab: a film, or an empty timeline, and music for its scenes. The film stays here.

import { clock, moodColour, palette, signed } from "./charts.js";
import { about, attempt, audioUrl, query, save } from "./library-api.js";
import { bodyFiltersOf, removedText, showCertainty, suggestNames } from "./library-filters.js";
import { SHORTEST, Timeline, curveOfScene, paintCurve } from "./scene-timeline.js";

const NEW_SECONDS = 10;
const CANDIDATES = 6;
const OUT_OF_STEP = 0.15; // Seconds from which the music is set back to the picture.
const FRAME = 0.5;

const $ = (id) => document.getElementById(id);
const video = $("video");
const form = $("scene-form");
const music = new Audio();
const words = new Map(); // Word -> its place.
const film = { seconds: 60, time: 0, plays: false, hasVideo: false, until: null, name: "scenes" };
let scenes = [];
let chosen = null;
let musicTrack = null;
let number = 0;

const timeline = new Timeline($("timeline"), {
  onSeek: seek,
  onChoose: choose,
  onEdge: moveEdge,
  onPaint: (scene, lane, from, to) => {
    paintCurve(scene, lane, from, to);
    scene.found = null;
    refresh();
  },
  onDone: (scene) => {
    forgetMusic(scene);
    showForm();
    refresh();
  },
});

// ------------------------------------------------------------------ the film

function openVideo(file) {
  URL.revokeObjectURL(video.src);
  film.hasVideo = false;
  video.src = URL.createObjectURL(file);
  film.name = file.name.replace(/\.[^.]*$/, "");
}

$("film-file").addEventListener("change", ({ target }) => {
  if (target.files[0]) openVideo(target.files[0]);
  target.value = "";
});
document.addEventListener("filesdropped", ({ detail: [file] }) => {
  if (file && document.body.dataset.tab === "scenes") openVideo(file);
});
video.addEventListener("loadedmetadata", () => {
  // A recording may not say how long it is. Its end tells.
  if (video.duration === Infinity) video.currentTime = 1e7;
  else showVideo();
});
video.addEventListener("durationchange", () => {
  if (!film.hasVideo && Number.isFinite(video.duration)) showVideo();
});

function showVideo() {
  pause();
  film.hasVideo = video.duration > 0;
  video.hidden = !film.hasVideo;
  $("no-video").hidden = film.hasVideo;
  if (film.hasVideo) setLength(video.duration);
  seek(0);
}

video.addEventListener("error", () => {
  if (!video.getAttribute("src")) return;
  film.hasVideo = false;
  video.hidden = true;
  $("no-video").hidden = false;
  say("This browser cannot play this video. You can still work on an empty timeline.");
});
$("film-sound").addEventListener("change", ({ target }) => (video.muted = !target.checked));
$("film-seconds").addEventListener("change", ({ target }) => {
  if (!film.hasVideo && target.checkValidity()) setLength(Math.max(Number(target.value), ...scenes.map((one) => one.end_s)));
});

function setLength(seconds) {
  film.seconds = seconds;
  $("film-seconds").value = Math.round(seconds);
  $("film-seconds-label").hidden = film.hasVideo;
  $("film-sound-label").hidden = !film.hasVideo;
  $("film-length").textContent = clock(seconds);
  const kept = scenes.filter((one) => one.end_s <= seconds + 0.01);
  if (kept.length < scenes.length) say(`${scenes.length - kept.length} scenes after the end were left out.`);
  scenes = kept;
  if (!scenes.includes(chosen)) chosen = null;
  showForm();
  refresh();
}

function seek(time) {
  film.time = Math.min(film.seconds, Math.max(0, time));
  film.until = null;
  if (film.hasVideo) video.currentTime = film.time;
  showTime();
  followMusic();
}

function showTime() {
  $("film-time").textContent = clock(film.time, 1);
  timeline.move(film.time);
}

let last = 0;

function tick(now) {
  if (!film.plays) return;
  film.time = film.hasVideo ? video.currentTime : film.time + (now - last) / 1000;
  last = now;
  const end = film.until ?? film.seconds;
  if (film.time >= end || (film.hasVideo && video.ended)) {
    film.time = Math.min(film.time, film.seconds);
    pause();
  }
  showTime();
  followMusic();
  requestAnimationFrame(tick);
}

async function start(until = null) {
  if (film.time >= film.seconds - 0.05) seek(0);
  film.until = until;
  film.plays = true;
  last = performance.now();
  showState();
  if (film.hasVideo) {
    try {
      await video.play();
    } catch (error) {
      if (error.name !== "AbortError") pause();
    }
  }
  requestAnimationFrame(tick);
}

function pause() {
  film.plays = false;
  video.pause();
  music.pause();
  showState();
}

function showState() {
  $("film-play").classList.toggle("playing", film.plays);
  $("film-play").setAttribute("aria-label", film.plays ? "Pause" : "Play");
  showPlaying();
}

const toggle = () => (film.plays ? pause() : start());
$("film-play").addEventListener("click", toggle);
document.addEventListener("tabshown", ({ detail }) => detail !== "scenes" && pause());
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || document.body.dataset.tab !== "scenes") return;
  if (event.target.closest("button, a, input, select, dialog, label")) return;
  event.preventDefault();
  toggle();
});

// ------------------------------------------------------------------ music in sync with the picture

const sceneAt = (time) => scenes.find((one) => time >= one.start_s && time < one.end_s) ?? null;
const choiceOf = (scene) => scene?.candidates?.[scene.choice] ?? null;

function followMusic() {
  const scene = sceneAt(film.time);
  const one = choiceOf(scene);
  if (!one || !film.plays) {
    music.pause();
    return;
  }
  if (musicTrack !== one.track.id) {
    musicTrack = one.track.id;
    music.src = audioUrl(one.track);
  }
  const wanted = one.in_s + film.time - scene.start_s;
  if (Math.abs(music.currentTime - wanted) > OUT_OF_STEP && !music.seeking) music.currentTime = wanted;
  if (music.paused) music.play().catch(() => {}); // "error" says what is wrong.
}
music.addEventListener("error", () => musicTrack !== null && say("This browser cannot play this track."));

// ------------------------------------------------------------------ scenes

const mood = (word) => words.get(word);

function newScene(start, end) {
  number += 1;
  const first = mood("calm") ?? { valence: 0, arousal: 0 };
  return { label: `Scene ${number}`, start_s: start, end_s: end, mood: "calm", toMood: "", from: first, to: first, curve: null, candidates: null, choice: null, found: null };
}

function add(scene) {
  scenes = [...scenes, scene].sort((a, b) => a.start_s - b.start_s);
  choose(scene);
  refresh();
}

const round = (seconds) => Math.round(seconds * 10) / 10;

$("mark").addEventListener("click", () => {
  const time = round(film.time);
  if (sceneAt(time)) return cut();
  const next = scenes.find((one) => one.start_s >= time)?.start_s ?? film.seconds;
  const end = Math.min(next, time + NEW_SECONDS);
  if (end - time < SHORTEST) return say("There is no room for a scene here.");
  add(newScene(time, end));
  say(`Scene from ${clock(time, 1)} to ${clock(end, 1)}.`);
});

function cut() {
  const time = round(film.time);
  const scene = sceneAt(time);
  if (scene) {
    if (time - scene.start_s < SHORTEST || scene.end_s - time < SHORTEST) return say("A scene must be at least a second long.");
    const rest = newScene(time, scene.end_s);
    Object.assign(rest, { mood: scene.mood, toMood: scene.toMood, from: scene.from, to: scene.to });
    scene.end_s = time;
    scene.curve = null;
    forgetMusic(scene);
    add(rest);
  } else {
    const before = scenes.findLast((one) => one.end_s <= time)?.end_s ?? 0;
    if (time - before < SHORTEST) return say("There is no room for a scene here.");
    add(newScene(before, time));
  }
  say(`Cut at ${clock(time, 1)}.`);
}
$("cut").addEventListener("click", cut);

function moveEdge(scene, end, time) {
  const at = scenes.indexOf(scene);
  const before = scenes[at - 1]?.end_s ?? 0;
  const after = scenes[at + 1]?.start_s ?? film.seconds;
  if (end === "start_s") scene.start_s = Math.min(scene.end_s - SHORTEST, Math.max(before, round(time)));
  else scene.end_s = Math.max(scene.start_s + SHORTEST, Math.min(after, round(time)));
  stretch(scene);
  scene.found = null;
  showForm();
  refresh();
}

/** A drawn curve goes along with the length of its scene. */
function stretch(scene) {
  if (!scene.curve) return;
  const share = (scene.end_s - scene.start_s) / scene.curve.at(-1).at_s;
  for (const point of scene.curve) point.at_s *= share;
}

function forgetMusic(scene) {
  Object.assign(scene, { candidates: null, choice: null, found: null });
  showCandidates();
}

function choose(scene) {
  if (scene === chosen) return;
  chosen = scene;
  showForm();
  showCandidates();
  refresh();
}

function refresh() {
  timeline.show(scenes, film.seconds, chosen);
  timeline.move(film.time);
  $("scene-list").replaceChildren(
    ...scenes.map((scene) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "button small";
      button.textContent = scene.label;
      button.setAttribute("aria-pressed", scene === chosen);
      button.addEventListener("click", () => {
        const at = scenes.indexOf(scene);
        choose(scene);
        seek(scene.start_s);
        $("scene-list").children[at]?.focus();
      });
      return button;
    }),
  );
  $("find-music").disabled = scenes.length === 0;
  for (const button of $("save-scenes").children) button.disabled = !scenes.some(choiceOf);
}

function say(text) {
  $("scenes-status").textContent = text;
}

// ------------------------------------------------------------------ the chosen scene

const placeOf = (value) =>
  value === "point" ? { valence: Number(form.elements.valence.value), arousal: Number(form.elements.arousal.value) } : mood(value);

function showForm() {
  form.hidden = !chosen;
  $("no-scene").hidden = Boolean(chosen);
  if (!chosen) return;
  const { elements } = form;
  $("scene-title").textContent = chosen.label;
  for (const name of ["label", "start_s", "end_s"]) {
    if (document.activeElement !== elements[name]) elements[name].value = name === "label" ? chosen.label : round(chosen[name]);
  }
  elements.mood.value = chosen.curve ? "curve" : chosen.mood;
  elements.to.value = chosen.curve ? "" : chosen.toMood;
  elements.to.disabled = Boolean(chosen.curve);
  if (chosen.mood === "point" && !chosen.curve) {
    for (const name of ["valence", "arousal"]) if (document.activeElement !== elements[name]) elements[name].value = chosen.from[name];
  }
  for (const label of form.querySelectorAll(".of-point")) label.hidden = chosen.mood !== "point" || Boolean(chosen.curve);
  $("curve-delete").hidden = !chosen.curve;
  const points = curveOfScene(chosen);
  const shown = ({ valence, arousal }) => `${signed(valence)}, ${signed(arousal)}`;
  $("scene-mood").textContent = `Valence, arousal: from ${shown(points[0])} to ${shown(points.at(-1))}.`;
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", ({ target }) => {
  const scene = chosen;
  if (!scene || !target.checkValidity()) return;
  const { elements } = form;
  if (target.name === "label") scene.label = target.value;
  else if (target.name === "start_s" || target.name === "end_s") {
    if (target.value !== "") moveEdge(scene, target.name, Number(target.value));
    forgetMusic(scene);
  } else {
    if (elements.mood.value === "curve") return;
    scene.curve = null;
    scene.mood = elements.mood.value;
    scene.toMood = elements.to.value;
    scene.from = placeOf(scene.mood);
    scene.to = scene.toMood ? placeOf(scene.toMood) : scene.from;
    forgetMusic(scene);
  }
  showForm();
  refresh();
});
$("scene-play").addEventListener("click", () => {
  seek(chosen.start_s);
  start(chosen.end_s);
});
$("scene-delete").addEventListener("click", () => {
  scenes = scenes.filter((one) => one !== chosen);
  say(`${chosen.label} deleted.`);
  chosen = null;
  showForm();
  showCandidates();
  refresh();
  $("timeline").focus();
});
$("curve-delete").addEventListener("click", () => {
  chosen.curve = null;
  forgetMusic(chosen);
  showForm();
  refresh();
  form.elements.mood.focus();
});

// ------------------------------------------------------------------ candidates

/** A scene as the API has it. */
function wanted(scene) {
  const { label, start_s, end_s } = scene;
  if (scene.curve) {
    const length = end_s - start_s;
    return { label, start_s, end_s, curve: scene.curve.map((point) => ({ ...point, at_s: Math.min(length, point.at_s) })) };
  }
  return { label, start_s, end_s, mood: scene.from, to: scene.to };
}

const filters = $("scene-filters");
suggestNames(filters);
filters.addEventListener("submit", (event) => {
  event.preventDefault();
  $("find-music").click();
});
for (const kind of ["input", "reset"]) {
  // The form is empty only after the event that empties it.
  filters.addEventListener(kind, () => setTimeout(() => {
    showCertainty(filters);
    const active = Object.keys(bodyFiltersOf(filters)).length;
    $("scene-filters-title").textContent = active ? `Filters (${active})` : "Filters";
  }));
}

$("find-music").addEventListener("click", async () => {
  if (!filters.checkValidity()) {
    filters.parentElement.open = true;
    filters.reportValidity();
    return;
  }
  const asked = [...scenes];
  say("Searching\u2026");
  const answer = await attempt(() => query("/scenes", { body: { scenes: asked.map(wanted), count: CANDIDATES, filters: bodyFiltersOf(filters) } }));
  if (!answer) {
    say("");
    return;
  }
  answer.scenes.forEach(({ candidates, chosen: choice }, n) => Object.assign(asked[n], { candidates, choice, found: null }));
  const without = asked.filter((scene) => !scene.candidates.length).length;
  const left = `${asked.length} ${asked.length === 1 ? "scene" : "scenes"}`;
  const result = without
    ? `${without} of ${left}: no track that passes the filters is long enough.`
    : `Music for ${left}. Play the film to hear it.`;
  say([result, ...removedText(answer.removed)].join(" "));
  if (!chosen) choose(asked[0]);
  showCandidates();
  refresh();
  await Promise.all(asked.map(loadCurve));
});

/** Draw the chosen excerpt's curve under the wanted one. */
async function loadCurve(scene) {
  const one = choiceOf(scene);
  if (!one) return;
  const track = await attempt(() => query(`/tracks/${one.track.id}`));
  if (!track || choiceOf(scene) !== one) return;
  const first = Math.round(one.in_s / FRAME);
  const last = Math.round(one.out_s / FRAME);
  const part = (name) => track[name].slice(first, last);
  scene.found = { times: part("valence").map((_, i) => (i + 0.5) * FRAME), valence: part("valence"), arousal: part("arousal") };
  refresh();
}

function showCandidates() {
  const list = chosen?.candidates;
  $("candidates").hidden = !list?.length;
  if (!list?.length) return;
  const { dark } = palette();
  $("candidates-title").textContent = `Music for ${chosen.label}`;
  $("candidate-list").replaceChildren(
    ...list.map((one, n) => {
      const row = $("candidate-row").content.firstElementChild.cloneNode(true);
      row.querySelector(".name").textContent = one.track.name;
      row.querySelector(".what .quiet").textContent =
        `${clock(one.in_s, 1)} to ${clock(one.out_s, 1)}, distance ${one.distance.toFixed(2)}, ` +
        `likely range \u00b1${one.half_width[0].toFixed(2)} and \u00b1${one.half_width[1].toFixed(2)}`;
      row.querySelector(".length").textContent = n ? "" : "best fit";
      const middle = [0, 1].map((k) => (one.predicted_start[k] + one.predicted_end[k]) / 2);
      row.querySelector(".mood-dot").style.backgroundColor = moodColour(...middle, dark);
      const input = row.querySelector("input");
      input.checked = n === chosen.choice;
      input.addEventListener("change", () => pick(n));
      const button = row.querySelector(".play-row");
      button.setAttribute("aria-label", `Play ${one.track.name} with the scene`);
      button.addEventListener("click", () => {
        if (film.plays && chosen.choice === n) return pause();
        pick(n);
        input.checked = true;
        seek(chosen.start_s);
        start(chosen.end_s);
      });
      return row;
    }),
  );
  showPlaying();
}

function pick(n) {
  if (chosen.choice === n) return;
  chosen.choice = n;
  chosen.found = null;
  refresh();
  loadCurve(chosen);
  showPlaying();
}

function showPlaying() {
  [...$("candidate-list").children].forEach((row, n) => row.classList.toggle("playing", film.plays && n === chosen?.choice));
}

// ------------------------------------------------------------------ start

const known = (await attempt(() => about)) ?? { words: [], scene_formats: [] };
for (const { word, valence, arousal } of known.words) words.set(word, { valence, arousal });
const options = () => [...words.keys()].map((word) => new Option(word, word));
const drawn = new Option("as drawn", "curve");
drawn.disabled = true;
form.elements.mood.append(...options(), new Option("a point\u2026", "point"), drawn);
form.elements.to.append(new Option("stays there", ""), ...options());
$("save-scenes").replaceChildren(
  ...known.scene_formats.map((format) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.disabled = true;
    button.textContent = format.toUpperCase();
    button.setAttribute("aria-label", `Save the choices as ${format.toUpperCase()}`);
    button.addEventListener("click", () => {
      const body = {
        scenes: scenes.map((scene) => {
          const one = choiceOf(scene);
          return one ? { ...wanted(scene), track: one.track.id, in_s: one.in_s } : wanted(scene);
        }),
      };
      const fps = $("film-fps").checkValidity() ? $("film-fps").value : "";
      attempt(() => save("/soundtrack", { query: { format, fps, name: film.name.slice(0, 200) }, body }, `${film.name}.${format}`));
    });
    return button;
  }),
);
document.addEventListener("themechange", () => {
  refresh();
  showCandidates();
});
setLength(film.seconds);
document.body.dataset.scenesReady = "true";
