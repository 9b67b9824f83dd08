// The page: take a file or the microphone, ask the service, show the answer, follow the music.

import { PlaneChart, TimeChart, at, clock, isOver, poster, rangeOf, signed } from "./charts.js";
import { Live, Problem, predict } from "./service.js";
import { openMicrophone, spectrogramOf, toPcm, wav } from "./sound.js";
import { Spectrogram } from "./spectrogram.js";

const LIVE_SECONDS = 60; // What is seen while the microphone is open.
const LIVE_COLUMN_SECONDS = 0.1;
const DECIMALS = 6; // Of values in files, as the service gives them.
const QUIETEST_PEAK_DB = -20; // The noise of a silent room shall not look like music.

const $ = (id) => document.getElementById(id);
const { predict: predictUrl, live: liveUrl, ...limits } = document.body.dataset;
const still = matchMedia("(prefers-reduced-motion: reduce)");
const curves = new TimeChart($("curves"), seek);
const plane = new PlaneChart($("plane"), seek);
const intro = new PlaneChart($("intro-plane"), () => {});
const { words } = plane;

const tracks = { a: null, b: null };
let heard = "a"; // The track that is listened to.
let time = 0;

const shown = () => Object.values(tracks).filter(Boolean);
const megabytes = (bytes) => (bytes / 1e6).toFixed(1).replace(/\.0$/, "");
const sentence = (text) => text[0].toUpperCase() + text.slice(1);

// ------------------------------------------------------------------ choosing

for (const [id, slot] of [["file", "a"], ["file-b", "b"]]) {
  $(id).addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) open(file, slot);
    event.target.value = ""; // So that choosing the same file again asks again.
  });
}
$("microphone").addEventListener("click", () => record("a"));
$("microphone-b").addEventListener("click", () => record("b"));
$("form").addEventListener("submit", (event) => event.preventDefault());
$("model").addEventListener("change", () => {
  for (const track of shown()) if (track.file) open(track.file, track.slot, track);
});

// The whole page takes a drop: a file that misses the frame must not replace the page.
let depth = 0;
const hover = (change) => {
  depth = Math.max(0, depth + change);
  document.body.classList.toggle("dragging", depth > 0);
};
document.addEventListener("dragenter", () => hover(1));
document.addEventListener("dragleave", () => hover(-1));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  hover(-depth);
  const files = [...event.dataTransfer.files];
  const slot = event.target.closest("[data-slot]")?.dataset.slot ?? "a";
  if (files.length > 2) fail("Two files at a time", new Error("Drop one file, or two to compare them."));
  else if (files.length === 2) files.forEach((file, i) => open(file, "ab"[i]));
  else if (files.length) open(files[0], slot);
});

// ------------------------------------------------------------------ a file

function newTrack(slot, name) {
  const card = $("card").content.firstElementChild.cloneNode(true);
  card.dataset.slot = slot;
  const track = {
    slot,
    name,
    card,
    part: (kind) => card.querySelector(`.${kind}`),
    curve: { times_s: [], valence: [], arousal: [] },
    picture: null, // Spectrogram: { seconds, columns, peak }.
    deaf: false, // The browser cannot decode it.
    audio: null,
    links: [],
    request: new AbortController(),
    done: false,
  };
  track.part("chip").textContent = slot.toUpperCase();
  track.part("name").textContent = name;
  track.part("name").title = name;
  track.part("remove").setAttribute("aria-label", `Remove ${name}`);
  track.part("remove").addEventListener("click", () => remove(track));
  track.part("stop").addEventListener("click", () => track.stop?.());
  return track;
}

const link = (track, blob) => {
  track.links.push(URL.createObjectURL(blob));
  return track.links.at(-1);
};

/** Put a track in its place, or nothing; what was there may come back. */
function place(slot, track) {
  const now = tracks[slot];
  if (now && now !== track) {
    now.request.abort();
    now.stop?.();
    now.audio?.pause();
    now.card.remove();
  }
  tracks[slot] = track;
  if (track) $("cards").insertBefore(track.card, slot === "a" ? $("cards").firstChild : $("compare"));
  if (!tracks.a && tracks.b) {
    // One track alone is A.
    [tracks.a, tracks.b] = [tracks.b, null];
    tracks.a.slot = tracks.a.card.dataset.slot = "a";
    tracks.a.part("chip").textContent = "A";
  }
  if (!tracks[heard]) heard = "a";
  const count = shown().length;
  $("main").dataset.state = ["empty", "one", "two"][count];
  $("result").hidden = count === 0;
  $("compare").hidden = count !== 1 || !tracks.a.done;
  refresh();
}

/** What to come back to if the next track fails: the last one here that was answered. */
const lastIn = (slot) => (tracks[slot]?.done ? tracks[slot] : (tracks[slot]?.before ?? null));

/** A track will not come back: give back what it holds. */
function forget(track) {
  track?.links.forEach((url) => URL.revokeObjectURL(url));
}

function remove(track) {
  if (tracks[track.slot] !== track) return;
  place(track.slot, null);
  forget(track);
  forget(track.before);
  say(`${track.name} removed`);
  (shown().length ? $("result") : $("file")).focus();
}

/** Ask about a file; `known` holds what the page already knows of it. */
async function open(file, slot, known = null) {
  $("error").hidden = true;
  if (slot === "b" && !tracks.a) slot = "a";
  if (file.size > Number(limits.maxBytes)) {
    const detail =
      `${file.name} has ${megabytes(file.size)} MB; up to ${megabytes(limits.maxBytes)} MB are accepted. ` +
      "Send a shorter excerpt or a compressed format such as MP3.";
    fail("This file is too large", new Error(detail));
    return;
  }
  const track = newTrack(slot, file.name);
  track.before = lastIn(slot);
  track.file = file;
  track.recorded = known?.recorded;
  Object.assign(track, known && { picture: known.picture, deaf: known.deaf });
  const first = shown().length === 0;
  place(slot, track);
  if (slot === heard) pause();
  move(0);
  listenTo(track);
  if (!track.picture && !track.deaf) look(track);
  say(`Sending ${file.name}`);
  doing(track, "Sending", 0);
  const query = new URLSearchParams({ model: $("model").value });
  try {
    const whole = await predict(`${predictUrl}?${query}`, file, {
      signal: track.request.signal,
      onUpload: (part) => doing(track, part < 1 ? `Sending, ${Math.round(100 * part)} %` : "Listening", part < 1 ? part : null),
      onFrames: (records) => {
        extend(track.curve, records);
        const covered = track.curve.times_s.at(-1);
        const length = lengthOf(track);
        doing(track, `Listening, ${clock(covered)}${length > covered + 1 ? ` of ${clock(length)}` : ""}`, length ? covered / length : null);
        refresh();
      },
    });
    finish(track, whole, first);
  } catch (error) {
    if (error.name === "AbortError" || tracks[track.slot] !== track) return;
    place(track.slot, track.before);
    if (!(error instanceof Problem)) throw error;
    fail("This file could not be analysed", error, () => open(file, slot, known));
  }
}

function extend(curve, records) {
  for (const { time_s: at, ...values } of records) {
    curve.times_s.push(at);
    for (const [name, value] of Object.entries(values)) (curve[name] ??= []).push(value);
  }
}

function finish(track, whole, focus) {
  track.curve = { ...whole, ...track.curve };
  track.done = true;
  forget(track.before);
  track.before = null;
  const { curve, part } = track;
  const stem = track.name.replace(/\.[^.]*$/, "");
  part("words").textContent = sentence(curve.quadrant.words);
  part("mean-valence").textContent = signed(curve.mean.valence);
  part("mean-arousal").textContent = signed(curve.mean.arousal);
  part("duration").textContent = clock(curve.duration_s, curve.duration_s < 10 ? 1 : 0);
  const took = curve.elapsed_ms === undefined ? "live" : `in ${(curve.elapsed_ms / 1000).toFixed(curve.elapsed_ms < 950 ? 2 : 1)} s`;
  part("by").textContent = `${curve.model}, ${took}`;
  part("warnings").textContent = curve.warnings?.map(sentence).join(" ") ?? "";
  const offer = (kind, blob, ending) => {
    part(kind).download = `${stem}.${ending}`;
    part(kind).href = link(track, blob);
    part(kind).setAttribute("aria-label", `Download ${stem}.${ending}`);
  };
  offer("csv", new Blob([table(curve)], { type: "text/csv" }), "csv");
  offer("json", new Blob([`${JSON.stringify(curve, null, 2)}\n`], { type: "application/json" }), "json");
  if (track.recorded) offer("wav", track.file, "wav");
  part("wav").hidden = !track.recorded;
  place(track.slot, track);
  say(
    `${track.name}: ${curve.quadrant.words}. Mean valence ${signed(curve.mean.valence)}, ` +
      `mean arousal ${signed(curve.mean.arousal)}.`,
  );
  if (focus) $("result").focus({ preventScroll: true });
}

/** Columns of numbers, one for each half second. */
const columnsOf = (curve) => Object.keys(curve).filter((name) => Array.isArray(curve[name]) && /^(times_s|valence|arousal)/.test(name));

function table(curve) {
  const names = columnsOf(curve);
  const rows = curve.times_s.map((_, i) => names.map((name) => curve[name][i].toFixed(name === "times_s" ? 1 : DECIMALS)));
  return [names.map((name) => name.replace("times_s", "time_s")), ...rows, []].join("\n");
}

async function look(track) {
  try {
    track.picture = await spectrogramOf(track.file);
    track.picture.peak = peakOf(track.picture.columns);
  } catch {
    track.deaf = true;
  }
  refresh();
}

function peakOf(columns) {
  let peak = QUIETEST_PEAK_DB;
  for (const column of columns) for (const value of column) if (value > peak) peak = value;
  return peak;
}

// ------------------------------------------------------------------ the microphone

async function record(slot) {
  if (shown().some((track) => track.live)) return;
  $("error").hidden = true;
  if (slot === "b" && !tracks.a) slot = "a";
  pause();
  const track = newTrack(slot, "Microphone");
  track.before = lastIn(slot);
  Object.assign(track, { live: true, recorded: true, picture: { seconds: LIVE_COLUMN_SECONDS, columns: [], peak: QUIETEST_PEAK_DB } });
  const blocks = [];
  let length = 0;
  let live, pictured;
  let ended = false;

  const failed = (error) => {
    if (blocks.length && track.curve.times_s.length) stop(); // What was answered stays.
    else if (tracks[track.slot] === track) place(track.slot, track.before);
    const retry = error.passes ? () => record(slot) : null;
    fail(error instanceof Problem ? "The live answer ended" : "The microphone could not be opened", error, retry);
  };
  const stop = async () => {
    if (ended) return;
    ended = true;
    await microphone.stop();
    if (tracks[track.slot] !== track) return; // Something else took its place.
    doing(track, "Finishing", null);
    await live.finish();
    track.live = false;
    if (tracks[track.slot] !== track) return;
    if (!track.curve.times_s.length) {
      place(track.slot, track.before);
      fail("Too short", new Error("Nothing was heard for half a second. Record a little longer."));
      return;
    }
    track.file = wav(blocks, microphone.rate, "Microphone.wav");
    listenTo(track);
    const mean = Object.fromEntries(
      ["valence", "arousal"].map((name) => [name, track.curve[name].reduce((a, b) => a + b) / track.curve[name].length]),
    );
    const name = quadrantOf(mean);
    finish(
      track,
      {
        model: track.model,
        duration_s: track.curve.times_s.at(-1),
        frame_seconds: track.curve.times_s[0],
        mean: Object.fromEntries(Object.entries(mean).map(([key, value]) => [key, Number(value.toFixed(DECIMALS))])),
        quadrant: { name: name.toUpperCase(), words: words[name] },
      },
      true,
    );
    move(0);
  };
  track.stop = stop;

  let microphone;
  try {
    microphone = await openMicrophone((samples) => {
      const pcm = toPcm(samples);
      blocks.push(pcm);
      length += pcm.length;
      live.push(pcm);
      const columns = pictured.push(samples);
      track.picture.columns.push(...columns);
      track.picture.peak = Math.max(track.picture.peak, peakOf(columns));
      track.heard = length / microphone.rate;
      doing(track, `Listening, ${clock(track.heard)}`);
      refresh();
      if (track.heard >= Number(limits.maxSeconds)) stop();
    }, stop);
  } catch (error) {
    failed(error);
    return;
  }
  track.model = $("model").value;
  pictured = new Spectrogram(microphone.rate, LIVE_COLUMN_SECONDS);
  live = new Live(liveUrl, {
    model: track.model,
    rate: microphone.rate,
    maxSeconds: Number(limits.maxChunkSeconds),
    onProblem: failed,
    onFrames: (answer) => {
      const { times_s, valence, arousal } = answer;
      const names = columnsOf(answer).filter((name) => name !== "times_s");
      extend(track.curve, times_s.map((time_s, i) => ({ time_s, ...Object.fromEntries(names.map((name) => [name, answer[name][i]])) })));
      if (!times_s.length) return;
      const name = quadrantOf({ valence: valence.at(-1), arousal: arousal.at(-1) });
      track.part("words").textContent = sentence(words[name]);
      heard = track.slot;
      move(times_s.at(-1));
      refresh();
    },
  });
  place(slot, track);
  doing(track, "Listening, 0:00");
  say("Listening to the microphone");
  track.part("stop").focus();
}

const quadrantOf = ({ valence, arousal }) => (arousal >= 0 ? (valence >= 0 ? "q1" : "q2") : valence < 0 ? "q3" : "q4");

// ------------------------------------------------------------------ showing

function say(text) {
  $("status").textContent = text;
}

/** What goes on with a track; `part` is from 0 to 1, null where it is not known. */
function doing(track, text, part) {
  track.part("doing").textContent = text;
  track.part("stop").hidden = !track.live;
  const bar = track.part("progress");
  bar.hidden = track.live;
  if (part === null) bar.removeAttribute("value");
  else bar.value = part ?? 0;
}

function fail(title, error, retry = null) {
  $("error").hidden = false;
  $("error-title").textContent = title;
  $("error-detail").textContent = error.message;
  $("error-id").textContent = error.id ? `Request ${error.id}` : "";
  $("retry").hidden = !(retry && error.passes);
  $("retry").onclick = retry;
  $("error").scrollIntoView({ block: "nearest" });
}
$("dismiss").addEventListener("click", () => {
  $("error").hidden = true;
  $("file").focus();
});

/** Seconds that a track lasts, as far as is known by now. */
function lengthOf({ curve, audio, picture }) {
  const known = [audio?.duration, picture?.duration].find(Number.isFinite) ?? 0;
  return Math.max(known, curve.times_s.at(-1) ?? 0);
}

const rangeShown = () => ($("scale").checked ? 1 : rangeOf(shown()));
$("scale").addEventListener("change", refresh);

let waiting = false;

/** Draw again, once a frame. */
function refresh() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    const all = shown();
    for (const track of all) {
      track.card.classList.toggle("working", !track.done);
      track.card.classList.toggle("live", Boolean(track.live));
    }
    if (!all.length) return;
    const live = all.find((track) => track.live);
    const end = live ? Math.max(20, live.heard ?? 0) : Math.max(1, ...all.map(lengthOf));
    const range = rangeShown();
    curves.show(all, range, live ? Math.max(0, end - LIVE_SECONDS) : 0, end);
    plane.show(all, range);
    $("plane").setAttribute(
      "aria-label",
      `Path in the valence-arousal plane. ${all.filter(({ done }) => done).map(({ name, curve }) => `${name}: ${curve.quadrant.words}`).join("; ")}`,
    );
    $("plane").classList.toggle("live", Boolean(live));
    $("band").hidden = !all.some(({ curve }) => curve.valence_low);
    $("listen").hidden = all.length < 2 || Boolean(live);
    $("readout").dataset.slot = heard;
    for (const input of $("listen").querySelectorAll("input")) input.checked = input.value === heard;
    const { audio } = tracks[heard];
    $("play").disabled = !audio || Boolean(live);
    $("play").hidden = Boolean(audio?.error);
    $("no-audio").hidden = !audio?.error;
    $("png").disabled = !all.every(({ done }) => done);
    $("length").textContent = clock(live ? (live.heard ?? 0) : Math.max(...all.map(lengthOf)));
    move(time);
    if ($("values").open) list();
  });
}

$("values").addEventListener("toggle", list);

function list() {
  const all = shown();
  const many = all.length > 1;
  const rows = all.map(({ curve }) => curve).sort((a, b) => b.times_s.length - a.times_s.length)[0]?.times_s ?? [];
  const names = all.flatMap(({ slot, curve }) =>
    columnsOf(curve).slice(1).map((name) => ({ curve, name, title: `${sentence(name.replace("_", " "))}${many ? ` ${slot.toUpperCase()}` : ""}` })),
  );
  const cells = (kind, texts) => {
    const row = document.createElement("tr");
    texts.forEach((text, i) => {
      const cell = document.createElement(i ? kind : "th");
      if (cell.tagName === "TH") cell.scope = kind === "th" ? "col" : "row";
      cell.textContent = text;
      row.append(cell);
    });
    return row;
  };
  const value = (number) => (number === undefined ? "" : number.toFixed(4).replace(/^-(?=[0.]+$)/, "").replace("-", "\u2212"));
  $("values").querySelector("table").replaceChildren(
    cells("th", ["Time (s)", ...names.map(({ title }) => title)]),
    ...rows.map((seconds, i) => cells("td", [seconds.toFixed(1), ...names.map(({ curve, name }) => value(curve[name][i]))])),
  );
}

$("png").addEventListener("click", () => {
  const all = shown();
  const credit = `Valence and arousal from \u22121 to 1, estimated by ${[...new Set(all.map(({ curve }) => curve.model))].join(", ")}. Music Sentiment Recognition`;
  poster(all, rangeShown(), Math.max(...all.map(lengthOf)), words, credit).toBlob((blob) => {
    const anchor = document.createElement("a");
    anchor.download = `${all.map(({ name }) => name.replace(/\.[^.]*$/, "")).join(" and ")}.png`;
    anchor.href = link(all[0], blob);
    anchor.click();
  });
});

// ------------------------------------------------------------------ following the music

function listenTo(track) {
  track.audio = new Audio(link(track, track.file));
  const mine = () => tracks[heard] === track;
  const told = () => {
    const playing = mine() && !track.audio.paused;
    if (mine()) $("play").classList.toggle("playing", playing);
    if (mine()) $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  };
  for (const event of ["play", "pause", "ended"]) track.audio.addEventListener(event, told);
  track.audio.addEventListener("play", () => !still.matches && follow(track));
  track.audio.addEventListener("timeupdate", () => mine() && !track.audio.paused && move(track.audio.currentTime));
  track.audio.addEventListener("ended", () => mine() && move(lengthOf(track)));
  for (const event of ["loadedmetadata", "error"]) track.audio.addEventListener(event, refresh);
}

function follow(track) {
  if (tracks[heard] !== track || track.audio.paused) return;
  move(track.audio.currentTime);
  requestAnimationFrame(() => follow(track));
}

function move(to) {
  time = to;
  curves.move(time);
  plane.move(time);
  $("now-time").textContent = clock(time, 1);
  const track = tracks[heard];
  for (const name of ["valence", "arousal"]) {
    const silent = !track?.curve.times_s.length || isOver(track, time);
    $(`now-${name}`).textContent = silent ? "\u2013" : signed(at(track.curve.times_s, track.curve[name], time));
  }
}

function seek(to) {
  const track = tracks[heard];
  if (track?.live) return;
  if (track?.audio?.readyState > 0) track.audio.currentTime = Math.min(to, track.audio.duration);
  move(to);
}

const pause = () => tracks[heard]?.audio?.pause();

function toggle() {
  const audio = tracks[heard]?.audio;
  if (!audio || audio.error || $("play").disabled) return;
  if (!audio.paused) {
    audio.pause();
    return;
  }
  audio.currentTime = time >= audio.duration - 0.05 ? 0 : time;
  audio.play();
}

$("play").addEventListener("click", toggle);
$("listen").addEventListener("change", ({ target }) => {
  const playing = !tracks[heard].audio.paused;
  pause();
  heard = target.value;
  $("play").classList.remove("playing");
  refresh();
  if (playing) toggle();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || event.target.closest("button, a, input, select, summary, dialog, .scroll")) return;
  if ($("result").hidden) return;
  event.preventDefault();
  toggle();
});

// ------------------------------------------------------------------ the model's card

$("about").addEventListener("click", async () => {
  const { card: url } = $("model").selectedOptions[0].dataset;
  const node = (kind, text, ...children) => {
    const element = document.createElement(kind);
    element.textContent = text;
    element.append(...children);
    return element;
  };
  let card;
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error();
    card = await response.json();
  } catch {
    fail("The model's card could not be read", new Error("Check that the service is still running, then try again."));
    return;
  }
  const body = [node("p", card.summary ?? "")];
  if (card.limits?.length) {
    body.push(node("h3", "What to keep in mind"), node("ul", "", ...card.limits.map((limit) => node("li", sentence(limit)))));
  }
  const scores = Object.entries(card.metrics ?? {});
  if (scores.length) {
    const kinds = Object.keys(scores[0][1]);
    const head = node("tr", "", node("td", ""), ...kinds.map((kind) => node("th", kind.length > 4 ? kind : kind === "r" ? "r" : kind.toUpperCase())));
    const rows = scores.map(([target, values]) =>
      node("tr", "", node("th", sentence(target)), ...kinds.map((kind) => {
        const { value, low, high } = values[kind];
        return node("td", value.toFixed(2), node("small", `${low.toFixed(2)} to ${high.toFixed(2)}`));
      })),
    );
    body.push(node("h3", "Scores, with 95 % intervals"), node("table", "", head, ...rows), node("p", card.protocol ?? ""));
    body.at(-1).className = "quiet";
  }
  const facts = [["Trained on", card.trained_on], ["Licence", card.licence], ["Kind", card.kind], ["Weights", card.parameters?.toLocaleString("en")]];
  body.push(node("h3", "Facts"), node("dl", "", ...facts.filter(([, value]) => value).map(([name, value]) => node("div", "", node("dt", name), node("dd", value)))));
  $("model-title").textContent = card.title;
  $("model-body").replaceChildren(...body);
  $("model-link").href = url;
  $("model-card").showModal();
});
$("model-card").addEventListener("click", (event) => {
  if (event.target === $("model-card")) $("model-card").close(); // Beside it.
});

// ------------------------------------------------------------------ light and dark

const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : system.matches);

function themed() {
  $("theme").setAttribute("aria-pressed", isDark());
  for (const chart of [curves, plane, intro]) chart.draw();
}
$("theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Then it holds for this visit.
  }
  themed();
});
system.addEventListener("change", themed);
themed();
