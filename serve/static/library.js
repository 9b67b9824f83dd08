// The Library tab: the map, search, playlists, and the list of what was found.

import { feeling } from "./affect.js";
import { at, clock, moodColour, palette, signed } from "./charts.js";
import { about, attempt, opinionButtons, query, save, setOpinion, starsOf, tracksOf } from "./library-api.js";
import { bodyFiltersOf, filtersOf, removedText, showCertainty, suggestNames } from "./library-filters.js";
import { TrackMap } from "./library-map.js";
import { currentTrack, play, player, playerTime, playing, toggle } from "./library-player.js";

const HELP = {
  pick: "Click a track to choose it. Drag it to where it should lie: you get tracks like it from there. With the keyboard: arrow keys, Enter to choose, space to play, + and \u2212 to zoom.",
  lasso: "Draw around tracks to list them.",
  draw: "Draw a line through the plane: you get a playlist that follows it.",
};
const STEP = 0.3; // How much "happier" moves a track.
const LISTED = 200; // Most tracks of a lasso that are listed.
const STOPS = 40; // Points of a drawn line that are sent.
const WAIT_MS = 250; // After a key, before a filter is applied.

const $ = (id) => document.getElementById(id);
const find = $("find");
const path = $("path");
let dots = null;
let picked = null;
let list = { name: "", tracks: [] };

const map = new TrackMap($("map"), {
  onPoint: async (id, tell = false) => {
    // No error for the pointer that moves: it would replace one that is being read.
    const [track] = await tracksOf([id]).catch(() => []);
    if (!track) return;
    map.name(id, `${track.name}\n${feeling(track)}`);
    if (tell) $("map-status").textContent = describe(track);
  },
  onPick: choose,
  onPlay: async (id) => {
    const [track] = (await attempt(() => tracksOf([id]))) ?? [];
    if (track) toggle(track);
  },
  onDrop: (id, valence, arousal) => moreLike(id, { valence, arousal }),
  onLasso: async (ids) => {
    const tracks = await attempt(() => tracksOf(ids.slice(0, LISTED)));
    if (!tracks) return;
    const note = ids.length > LISTED ? `The first ${LISTED} are listed.` : "";
    showList(`${ids.length} ${ids.length === 1 ? "track" : "tracks"} in the lasso`, note, tracks.map((track) => ({ track })));
    map.mark(ids);
  },
  onDraw: (points) => {
    const step = Math.max(1, Math.ceil(points.length / STOPS));
    const kept = points.filter((_, i) => i % step === 0 || i === points.length - 1);
    makePath(kept.map(([valence, arousal]) => ({ valence, arousal })), points);
  },
});

const describe = (track) =>
  `${track.name}: ${feeling(track)}, valence ${signed(track.predicted.valence)}, arousal ${signed(track.predicted.arousal)}`;

// ------------------------------------------------------------------ the map

$("map-tool").addEventListener("change", ({ target }) => {
  map.tool = target.value;
  $("map").dataset.tool = map.tool;
  $("map-help").textContent = HELP[map.tool];
});
$("map-help").textContent = HELP.pick;
$("zoom-in").addEventListener("click", () => map.zoom(1.6));
$("zoom-out").addEventListener("click", () => map.zoom(1 / 1.6));
$("zoom-all").addEventListener("click", () => map.look(0, 0, 1));
document.addEventListener("themechange", () => {
  map.draw();
  colourRows();
});

function showCount({ passing, tracks, id }) {
  const part = passing === tracks ? `${tracks} tracks` : `${passing} of ${tracks} tracks`;
  $("map-count").textContent = id.length < passing ? `${part}, ${id.length} shown` : part;
}

// ------------------------------------------------------------------ filters

const filters = () => filtersOf(find);
suggestNames(find);

let timer;
let applied = "";
let asked = 0;

find.addEventListener("input", ({ target }) => {
  if (target.name === "certainty") showCertainty(find);
  clearTimeout(timer);
  timer = setTimeout(applyFilters, WAIT_MS);
});
find.addEventListener("change", applyFilters);

async function applyFilters() {
  clearTimeout(timer);
  const wanted = filters();
  const key = JSON.stringify(wanted);
  if (key === applied || !dots || !find.checkValidity()) return;
  applied = key;
  // A name that is still being typed fits nothing; the map then waits.
  const known = [["genre", "genres"], ["artist", "artists"]].every(
    ([name, id]) => !wanted[name] || [...$(id).options].some((option) => option.value.toLowerCase() === wanted[name].toLowerCase()),
  );
  if (!known && document.activeElement?.matches("#find input[list]")) {
    applied = "";
    return;
  }
  const mine = ++asked;
  const passing = await attempt(() => query("/map", { query: wanted }));
  if (!passing || mine !== asked) return;
  map.filter(passing.id);
  showCount(passing);
  $("map-status").textContent = $("map-count").textContent;
}

$("find-clear").addEventListener("click", () => {
  find.reset();
  showCertainty(find);
  $("listed").hidden = true;
  map.mark([]);
  applyFilters();
});

// ------------------------------------------------------------------ search

find.addEventListener("submit", async (event) => {
  event.preventDefault();
  await applyFilters();
  const words = find.elements.words.value;
  const listener = $("by-likes").checked ? "me" : "";
  if (words || listener) await search({ words, listener }, words ? `Tracks that are ${words}` : "Tracks for you");
  else {
    const page = await attempt(() => query("/tracks", { query: { ...filters(), limit: 50 } }));
    if (!page) return;
    const note = page.passing > page.tracks.length ? `The first ${page.tracks.length} are listed. Choose a mood to rank them.` : "";
    showList(`${page.passing} tracks`, note, page.tracks.map((track) => ({ track })));
    map.mark(page.tracks.map(({ id }) => id));
  }
});

async function search(wanted, title) {
  const listener = $("by-likes").checked ? "me" : "";
  const answer = await attempt(() => query("/find", { query: { ...filters(), listener, ...wanted, limit: 30 } }));
  if (!answer) return;
  const tracks = answer.results.map(({ track, predicted, ...rest }) => ({
    track: { ...track, predicted, quadrant: null },
    text: reasons(rest),
  }));
  const removed = removedText(answer.removed);
  showList(title, [answer.note ? `${answer.note[0].toUpperCase()}${answer.note.slice(1)}.` : "", ...removed].filter(Boolean).join(" "), tracks);
  map.mark(tracks.map(({ track }) => track.id));
}

/** Why a track was found. */
function reasons({ probability, similarity, because, closest }) {
  const parts = [];
  if (probability !== null) parts.push(`${Math.round(100 * probability)} % likely there`);
  if (similarity !== null) parts.push(`similarity ${signed(similarity)}`);
  if (closest) parts.push(`closest at ${clock(closest.start_s)}`);
  if (because) parts.push(`${because.adds > 0 ? "raised" : "lowered"} by your ${because.rating} of ${because.track.name}`);
  return parts.join(", ");
}

function moreLike(id, place, title = "More like this, from there") {
  const limit = (value) => Math.min(1, Math.max(-1, value));
  const { valence, arousal } = place;
  search({ like: id, valence: limit(valence).toFixed(3), arousal: limit(arousal).toFixed(3), confidence: 0.3 }, title);
}

// ------------------------------------------------------------------ the chosen track

async function choose(id) {
  const [track] = (await attempt(() => tracksOf([id]))) ?? [];
  if (!track) return;
  picked = track;
  $("picked").hidden = false;
  $("picked-name").textContent = track.name;
  $("picked-mood").textContent = `${feeling(track)}, ${Math.round(100 * track.certainty)} % certain. Valence ${signed(track.predicted.valence)}, arousal ${signed(track.predicted.arousal)}. ${clock(track.seconds)}.`;
  $("picked-play").setAttribute("aria-label", `Play ${track.name}`);
  $("map-status").textContent = describe(track);
  showEnds();
  showStars();
}

$("picked-play").addEventListener("click", () => picked && toggle(picked));
document.querySelector(".more").addEventListener("click", ({ target }) => {
  const kind = target.dataset.more;
  if (!kind || !picked) return;
  const place = { ...picked.predicted };
  const name = kind.slice(0, -1);
  if (kind !== "same") place[name] += kind.endsWith("+") ? STEP : -STEP;
  moreLike(picked.id, place, `Like ${picked.name}: ${target.textContent.toLowerCase()}`);
});

// ------------------------------------------------------------------ stars

const stars = $("stars");

/** The stars of the chosen track; none if the library is read-only. */
async function showStars() {
  stars.hidden = !(await about).writable;
  const given = starsOf(picked.id);
  for (const radio of stars.querySelectorAll("input")) radio.checked = Number(radio.value) === given;
  $("stars-clear").hidden = !given;
}

let rating;
stars.addEventListener("change", ({ target }) => {
  // The arrow keys pass through the stars on the way to the one that is meant.
  const { id } = picked;
  clearTimeout(rating);
  rating = setTimeout(() => setOpinion(id, "rating", Number(target.value)), WAIT_MS);
});
$("stars-clear").addEventListener("click", async () => {
  await setOpinion(picked.id, "rating", starsOf(picked.id));
  stars.querySelector("input").focus();
});
document.addEventListener("opinions", () => picked && showStars());

// ------------------------------------------------------------------ playlists

const ends = { from: null, to: null }; // Tracks that were named as ends.

for (const end of ["from", "to"]) {
  $(`path-${end}`).addEventListener("click", () => {
    ends[end] = picked;
    showEnds();
    path.elements[end].value = "track";
    path.elements[end].focus();
  });
}

function showEnds() {
  for (const [end, track] of Object.entries(ends)) {
    const select = path.elements[end];
    let option = select.querySelector('[value="track"]');
    if (!track) continue;
    option ??= select.insertBefore(new Option("", "track"), select.firstChild);
    option.textContent = track.name;
  }
}

path.addEventListener("submit", (event) => {
  event.preventDefault();
  const stop = (end) => {
    const value = path.elements[end].value;
    return value === "track" ? { track: ends[end].id } : { word: value };
  };
  makePath([stop("from"), stop("to")]);
});

async function makePath(stops, drawn = null) {
  const body = { stops, minutes: Number(path.elements.minutes.value) || 45, kind: path.elements.kind.value, filters: bodyFiltersOf(find) };
  const playlist = await attempt(() => query("/path", { body }));
  if (!playlist) return;
  const rows = playlist.steps.map(({ track, start_s: start, predicted_start: [v, a], gap }, n) => ({
    track: { ...track, predicted: { valence: v, arousal: a }, quadrant: null },
    text: `at ${clock(start)}, begins at ${signed(v)}, ${signed(a)}${n ? `, gap ${gap.toFixed(2)}` : ""}`,
  }));
  const notes = playlist.notes.map((note) => `${note[0].toUpperCase()}${note.slice(1)}.`);
  const note = [`Mean distance from the wanted path ${playlist.mean_distance.toFixed(2)}, mean gap between tracks ${playlist.mean_gap.toFixed(2)}.`, ...notes].join(" ");
  showList(`Playlist: ${rows.length} tracks, ${clock(playlist.seconds)}`, note, rows);
  map.drawnPath = drawn;
  map.mark(rows.map(({ track }) => track.id), true);
}

// ------------------------------------------------------------------ the list

async function showList(title, note, rows) {
  list = { name: title, tracks: rows.map(({ track }) => track) };
  $("listed-title").textContent = title;
  $("listed-note").textContent = note;
  const buttons = await Promise.all(rows.map(({ track }) => opinionButtons(track)));
  $("tracks").replaceChildren(...rows.map((row, n) => rowOf(row, n, buttons[n])));
  $("play-all").disabled = rows.length === 0;
  for (const button of $("save-list").children) button.disabled = rows.length === 0;
  colourRows();
  showPlaying();
  $("listed").hidden = false;
  if (matchMedia("(max-width: 980px)").matches) $("listed").scrollIntoView({ block: "start" });
  $("map-status").textContent = `${title}. ${note}`;
}

function rowOf({ track, text }, n, buttons) {
  const row = $("track-row").content.firstElementChild.cloneNode(true);
  row.dataset.id = track.id;
  row.querySelector(".name").textContent = track.name;
  row.querySelector(".what .quiet").textContent = text ?? [feeling(track), track.genre, track.year].filter(Boolean).join(", ");
  row.querySelector(".length").textContent = clock(track.seconds);
  const start = row.querySelector(".play-row");
  start.setAttribute("aria-label", `Play ${track.name}`);
  start.addEventListener("click", () => toggle(track, { next: list.tracks.slice(n + 1) }));
  row.querySelector(".what").addEventListener("click", () => {
    map.focused = map.places.get(track.id) ?? -1;
    choose(track.id);
    map.move();
  });
  row.addEventListener("pointerenter", () => map.point(map.places.get(track.id) ?? -1));
  row.addEventListener("pointerleave", () => map.point(-1));
  row.querySelector(".opinions").replaceChildren(...buttons);
  return row;
}

/** Colour each row's dot as on the map. */
function colourRows() {
  const { dark } = palette();
  [...$("tracks").children].forEach((row, n) => {
    const { valence, arousal } = list.tracks[n].predicted;
    row.querySelector(".mood-dot").style.backgroundColor = moodColour(valence, arousal, dark);
  });
}

$("play-all").addEventListener("click", () => {
  const [first, ...next] = list.tracks;
  if (first) play(first, { next });
});

// ------------------------------------------------------------------ what plays

let curve = null; // Of the track that plays.

player.addEventListener("track", async () => {
  curve = null;
  map.now = null;
  map.move();
  const track = currentTrack();
  const detail = await attempt(() => query(`/tracks/${track.id}`));
  if (currentTrack() === track) curve = detail;
});
player.addEventListener("time", () => {
  if (!curve || !curve.times_s.length) return;
  map.now = ["valence", "arousal"].map((name) => at(curve.times_s, curve[name], playerTime()));
  map.move();
});
player.addEventListener("state", showPlaying);

function showPlaying() {
  const id = playing()?.id;
  for (const row of $("tracks").children) row.classList.toggle("playing", Number(row.dataset.id) === id);
}

// ------------------------------------------------------------------ start

const words = (await attempt(() => about)) ?? { words: [], playlist_formats: [] };
const options = () => words.words.map(({ word }) => new Option(word, word));
find.elements.words.append(...options());
for (const end of ["from", "to"]) path.elements[end].append(...options());
if (words.words.length) [path.elements.from.value, path.elements.to.value] = ["sad", "happy"];
$("save-list").replaceChildren(
  ...words.playlist_formats.map((format) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.textContent = format.toUpperCase();
    button.setAttribute("aria-label", `Save the list as ${format.toUpperCase()}`);
    const name = () => list.name.split(":")[0].replace(/[^\p{L}\p{N} ]/gu, " ").trim() || "music";
    button.addEventListener("click", () =>
      attempt(() => save("/playlist", { query: { format, name: name() }, body: { tracks: list.tracks.map(({ id }) => id) } }, `${name()}.${format}`)),
    );
    return button;
  }),
);
dots = await attempt(() => query("/map"));
if (dots) {
  map.load(dots);
  showCount(dots);
  if (!dots.tracks) $("map-help").textContent = "The library is empty. Add music with: msr library add FOLDER";
  $("map").setAttribute("aria-label", `${dots.tracks} tracks in the valence-arousal plane`);
}
document.body.dataset.libraryReady = "true";
