// The page: send a file or microphone audio to the service, show the answer, play the music.

import { feeling, quadrantOf } from "./affect.js";
import { PlaneChart, TimeChart, at, clock, isOver, poster, rangeOf, signed } from "./charts.js";
import { Live, Problem, predict } from "./service.js";
import { openMicrophone, spectrogramOf, toPcm, wav } from "./sound.js";
import { Spectrogram } from "./spectrogram.js";

const LIVE_SECONDS = 60; // Length of the curves shown while the microphone is open.
const LIVE_COLUMN_SECONDS = 0.1;
const DECIMALS = 6; // Of values in downloads, as in the answers of the service.
const QUIETEST_PEAK_DB = -20; // Otherwise the noise of a silent room would look like music.

const $ = (id) => document.getElementById(id);
const { predict: predictUrl, live: liveUrl, ...limits } = document.body.dataset;
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
const curves = new TimeChart($("curves"), seek);
const plane = new PlaneChart($("plane"), seek);
const intro = new PlaneChart($("intro-plane"), () => {});

const tracks = { a: null, b: null };
let activeSlot = "a"; // Slot of the track that is played.
let time = 0;

const visibleTracks = () => Object.values(tracks).filter(Boolean);
const megabytes = (bytes) => (bytes / 1e6).toFixed(1).replace(/\.0$/, "");
const sentence = (text) => text[0].toUpperCase() + text.slice(1);

// ------------------------------------------------------------------ choosing

for (const [id, slot] of [["file", "a"], ["file-b", "b"]]) {
  $(id).addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) analyse(file, slot);
    event.target.value = ""; // Choosing the same file again must send it again.
  });
}
$("microphone").addEventListener("click", () => recordMicrophone("a"));
$("microphone-b").addEventListener("click", () => recordMicrophone("b"));
$("form").addEventListener("submit", (event) => event.preventDefault());
$("model").addEventListener("change", () => {
  for (const track of visibleTracks()) if (track.file) analyse(track.file, track.slot, track);
});

// The whole page accepts a drop. Otherwise a file that misses the frame would replace the page.
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
  if (document.body.dataset.tab && document.body.dataset.tab !== "predict") {
    document.dispatchEvent(new CustomEvent("filesdropped", { detail: files }));
    return;
  }
  const slot = event.target.closest("[data-slot]")?.dataset.slot ?? "a";
  if (files.length > 2) showError("Two files at a time", new Error("Drop one file, or two to compare them."));
  else if (files.length === 2) files.forEach((file, i) => analyse(file, "ab"[i]));
  else if (files.length) analyse(files[0], slot);
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
    undecodable: false, // The browser cannot decode the file.
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

const objectUrl = (track, blob) => {
  track.links.push(URL.createObjectURL(blob));
  return track.links.at(-1);
};

/** Put a track, or nothing, into a slot. The track that was there may come back. */
function placeTrack(slot, track) {
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
    // A single track is A.
    [tracks.a, tracks.b] = [tracks.b, null];
    tracks.a.slot = tracks.a.card.dataset.slot = "a";
    tracks.a.part("chip").textContent = "A";
  }
  if (!tracks[activeSlot]) activeSlot = "a";
  const count = visibleTracks().length;
  $("main").dataset.state = ["empty", "one", "two"][count];
  $("result").hidden = count === 0;
  $("compare").hidden = count !== 1 || !tracks.a.done;
  refresh();
}

/** The last track of a slot that was answered. It comes back if the next one fails. */
const lastAnsweredIn = (slot) => (tracks[slot]?.done ? tracks[slot] : (tracks[slot]?.before ?? null));

/** Release the memory of a track that will not come back. */
function releaseUrls(track) {
  track?.links.forEach((url) => URL.revokeObjectURL(url));
}

function remove(track) {
  if (tracks[track.slot] !== track) return;
  placeTrack(track.slot, null);
  releaseUrls(track);
  releaseUrls(track.before);
  announce(`${track.name} removed`);
  (visibleTracks().length ? $("result") : $("file")).focus();
}

/** Send a file to the service. `known` is an earlier track of the same file. */
async function analyse(file, slot, known = null) {
  $("error").hidden = true;
  if (slot === "b" && !tracks.a) slot = "a";
  if (file.size > Number(limits.maxBytes)) {
    const detail =
      `${file.name} has ${megabytes(file.size)} MB. The limit is ${megabytes(limits.maxBytes)} MB. ` +
      "Send a shorter excerpt or a compressed format such as MP3.";
    showError("This file is too large", new Error(detail));
    return;
  }
  const track = newTrack(slot, file.name);
  track.before = lastAnsweredIn(slot);
  track.file = file;
  track.recorded = known?.recorded;
  Object.assign(track, known && { picture: known.picture, undecodable: known.undecodable });
  const first = visibleTracks().length === 0;
  placeTrack(slot, track);
  if (slot === activeSlot) pause();
  moveTo(0);
  listenTo(track);
  if (!track.picture && !track.undecodable) loadSpectrogram(track);
  announce(`Sending ${file.name}`);
  showProgress(track, "Sending", 0);
  const query = new URLSearchParams({ model: $("model").value });
  try {
    const whole = await predict(`${predictUrl}?${query}`, file, {
      signal: track.request.signal,
      onUpload: (part) => showProgress(track, part < 1 ? `Sending, ${Math.round(100 * part)} %` : "Analysing", part < 1 ? part : null),
      onFrames: (records) => {
        addFrames(track.curve, records);
        const covered = track.curve.times_s.at(-1);
        const length = lengthOf(track);
        showProgress(track, `Analysing, ${clock(covered)}${length > covered + 1 ? ` of ${clock(length)}` : ""}`, length ? covered / length : null);
        refresh();
      },
    });
    finish(track, whole, first);
  } catch (error) {
    if (error.name === "AbortError" || tracks[track.slot] !== track) return;
    placeTrack(track.slot, track.before);
    if (!(error instanceof Problem)) throw error;
    showError("This file could not be analysed", error, () => analyse(file, slot, known));
  }
}

function addFrames(curve, records) {
  for (const { time_s: at, ...values } of records) {
    curve.times_s.push(at);
    for (const [name, value] of Object.entries(values)) (curve[name] ??= []).push(value);
  }
}

function finish(track, whole, focus) {
  track.curve = { ...whole, ...track.curve };
  track.done = true;
  releaseUrls(track.before);
  track.before = null;
  const { curve, part } = track;
  const stem = track.name.replace(/\.[^.]*$/, "");
  part("words").textContent = sentence(feeling(curve));
  part("mean-valence").textContent = signed(curve.mean.valence);
  part("mean-arousal").textContent = signed(curve.mean.arousal);
  part("duration").textContent = clock(curve.duration_s, curve.duration_s < 10 ? 1 : 0);
  const took = curve.elapsed_ms === undefined ? "live" : `in ${(curve.elapsed_ms / 1000).toFixed(curve.elapsed_ms < 950 ? 2 : 1)} s`;
  part("by").textContent = `${curve.model}, ${took}`;
  part("warnings").textContent = curve.warnings?.map((text) => `${sentence(text.replace(/^file: /, ""))}.`).join(" ") ?? "";
  const offer = (kind, blob, ending) => {
    part(kind).download = `${stem}.${ending}`;
    part(kind).href = objectUrl(track, blob);
    part(kind).setAttribute("aria-label", `Download ${stem}.${ending}`);
  };
  offer("csv", new Blob([table(curve)], { type: "text/csv" }), "csv");
  offer("json", new Blob([`${JSON.stringify(curve, null, 2)}\n`], { type: "application/json" }), "json");
  if (track.recorded) offer("wav", track.file, "wav");
  part("wav").hidden = !track.recorded;
  placeTrack(track.slot, track);
  announce(
    `${track.name}: ${feeling(curve)}. Mean valence ${signed(curve.mean.valence)}, ` +
      `mean arousal ${signed(curve.mean.arousal)}.`,
  );
  if (focus) $("result").focus({ preventScroll: true });
}

/** Names of the columns of numbers, one for each half second. */
const columnsOf = (curve) => Object.keys(curve).filter((name) => Array.isArray(curve[name]) && /^(times_s|valence|arousal)/.test(name));

function table(curve) {
  const names = columnsOf(curve);
  const rows = curve.times_s.map((_, i) => [
    ...names.map((name) => curve[name][i].toFixed(name === "times_s" ? 1 : DECIMALS)),
    `${curve.model}@${curve.model_version}`,
  ]);
  return [[...names.map((name) => name.replace("times_s", "time_s")), "model"], ...rows, []].join("\n");
}

async function loadSpectrogram(track) {
  try {
    track.picture = await spectrogramOf(track.file);
    track.picture.peak = peakOf(track.picture.columns);
  } catch {
    track.undecodable = true;
  }
  refresh();
}

function peakOf(columns) {
  let peak = QUIETEST_PEAK_DB;
  for (const column of columns) for (const value of column) if (value > peak) peak = value;
  return peak;
}

// ------------------------------------------------------------------ the microphone

async function recordMicrophone(slot) {
  if (visibleTracks().some((track) => track.live)) return;
  $("error").hidden = true;
  if (slot === "b" && !tracks.a) slot = "a";
  pause();
  const track = newTrack(slot, "Microphone");
  track.before = lastAnsweredIn(slot);
  Object.assign(track, { live: true, recorded: true, picture: { seconds: LIVE_COLUMN_SECONDS, columns: [], peak: QUIETEST_PEAK_DB } });
  const blocks = [];
  let length = 0;
  let live, spectrogram;
  let ended = false;

  const onFailure = (error) => {
    if (blocks.length && track.curve.times_s.length) stop(); // Keep the frames that were answered.
    else if (tracks[track.slot] === track) placeTrack(track.slot, track.before);
    const retry = error.passes ? () => recordMicrophone(slot) : null;
    showError(error instanceof Problem ? "The live analysis ended" : "The microphone could not be opened", error, retry);
  };
  const stop = async () => {
    if (ended) return;
    ended = true;
    await microphone.stop();
    if (tracks[track.slot] !== track) return; // Another track took its place.
    showProgress(track, "Finishing", null);
    await live.finish();
    track.live = false;
    if (tracks[track.slot] !== track) return;
    if (!track.curve.times_s.length) {
      placeTrack(track.slot, track.before);
      showError("Too short", new Error("The recording is shorter than half a second. Record a little longer."));
      return;
    }
    track.file = wav(blocks, microphone.rate, "Microphone.wav");
    listenTo(track);
    const mean = Object.fromEntries(
      ["valence", "arousal"].map((name) => [name, track.curve[name].reduce((a, b) => a + b) / track.curve[name].length]),
    );
    const { name, words } = quadrantOf(mean);
    finish(
      track,
      {
        model: track.model,
        model_version: track.modelVersion,
        duration_s: track.curve.times_s.at(-1),
        frame_seconds: track.curve.times_s[0],
        mean: Object.fromEntries(Object.entries(mean).map(([key, value]) => [key, Number(value.toFixed(DECIMALS))])),
        quadrant: { name, words },
      },
      true,
    );
    moveTo(0);
  };
  track.stop = stop;

  let microphone;
  try {
    microphone = await openMicrophone((samples) => {
      const pcm = toPcm(samples);
      blocks.push(pcm);
      length += pcm.length;
      live.push(pcm);
      const columns = spectrogram.push(samples);
      track.picture.columns.push(...columns);
      track.picture.peak = Math.max(track.picture.peak, peakOf(columns));
      track.recordedSeconds = length / microphone.rate;
      showProgress(track, `Recording, ${clock(track.recordedSeconds)}`);
      refresh();
      if (track.recordedSeconds >= Number(limits.maxSeconds)) stop();
    }, stop);
  } catch (error) {
    onFailure(error);
    return;
  }
  track.model = $("model").value;
  spectrogram = new Spectrogram(microphone.rate, LIVE_COLUMN_SECONDS);
  live = new Live(liveUrl, {
    model: track.model,
    rate: microphone.rate,
    maxSeconds: Number(limits.maxChunkSeconds),
    onProblem: onFailure,
    onFrames: (answer) => {
      const { times_s, valence, arousal } = answer;
      track.modelVersion = answer.model_version;
      const names = columnsOf(answer).filter((name) => name !== "times_s");
      addFrames(track.curve, times_s.map((time_s, i) => ({ time_s, ...Object.fromEntries(names.map((name) => [name, answer[name][i]])) })));
      if (!times_s.length) return;
      const { words } = quadrantOf({ valence: valence.at(-1), arousal: arousal.at(-1) });
      track.part("words").textContent = sentence(words);
      activeSlot = track.slot;
      moveTo(times_s.at(-1));
      refresh();
    },
  });
  placeTrack(slot, track);
  showProgress(track, "Recording, 0:00");
  announce("Recording from the microphone");
  track.part("stop").focus();
}

// ------------------------------------------------------------------ showing

function announce(text) {
  $("status").textContent = text;
}

/** Show the progress of a track. `part` is from 0 to 1, or null if it is not known. */
function showProgress(track, text, part) {
  track.part("doing").textContent = text;
  track.part("stop").hidden = !track.live;
  const bar = track.part("progress");
  bar.hidden = track.live;
  if (part === null) bar.removeAttribute("value");
  else bar.value = part ?? 0;
}

function showError(title, error, retry = null) {
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

/** Length of a track in seconds, as far as it is known by now. */
function lengthOf({ curve, audio, picture }) {
  const known = [audio?.duration, picture?.duration].find(Number.isFinite) ?? 0;
  return Math.max(known, curve.times_s.at(-1) ?? 0);
}

const visibleRange = () => ($("scale").checked ? 1 : rangeOf(visibleTracks()));
$("scale").addEventListener("change", refresh);

let redrawRequested = false;

/** Draw again, at most once per frame. */
function refresh() {
  if (redrawRequested) return;
  redrawRequested = true;
  requestAnimationFrame(() => {
    redrawRequested = false;
    const all = visibleTracks();
    for (const track of all) {
      track.card.classList.toggle("working", !track.done);
      track.card.classList.toggle("live", Boolean(track.live));
    }
    if (!all.length) return;
    const live = all.find((track) => track.live);
    const end = live ? Math.max(20, live.recordedSeconds ?? 0) : Math.max(1, ...all.map(lengthOf));
    const range = visibleRange();
    curves.show(all, range, live ? Math.max(0, end - LIVE_SECONDS) : 0, end);
    plane.show(all, range);
    $("plane").setAttribute(
      "aria-label",
      `Path in the valence-arousal plane. ${all.filter(({ done }) => done).map(({ name, curve }) => `${name}: ${feeling(curve)}`).join("; ")}`,
    );
    $("plane").classList.toggle("live", Boolean(live));
    $("band").hidden = !all.some(({ curve }) => curve.valence_low);
    $("listen").hidden = all.length < 2 || Boolean(live);
    $("readout").dataset.slot = activeSlot;
    for (const input of $("listen").querySelectorAll("input")) input.checked = input.value === activeSlot;
    const { audio } = tracks[activeSlot];
    $("play").disabled = !audio || Boolean(live);
    $("play").hidden = Boolean(audio?.error);
    $("no-audio").hidden = !audio?.error;
    $("png").disabled = !all.every(({ done }) => done);
    $("length").textContent = clock(live ? (live.recordedSeconds ?? 0) : Math.max(...all.map(lengthOf)));
    moveTo(time);
    if ($("values").open) fillTable();
  });
}

$("values").addEventListener("toggle", fillTable);

function fillTable() {
  const all = visibleTracks();
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
  const all = visibleTracks();
  const credit = `Valence and arousal from \u22121 to 1, estimated by ${[...new Set(all.map(({ curve }) => curve.model))].join(", ")}. Music Sentiment Recognition`;
  poster(all, visibleRange(), Math.max(...all.map(lengthOf)), credit).toBlob((blob) => {
    const anchor = document.createElement("a");
    anchor.download = `${all.map(({ name }) => name.replace(/\.[^.]*$/, "")).join(" and ")}.png`;
    anchor.href = objectUrl(all[0], blob);
    anchor.click();
  });
});

// ------------------------------------------------------------------ playing the music

function listenTo(track) {
  track.audio = new Audio(objectUrl(track, track.file));
  const isActive = () => tracks[activeSlot] === track;
  const showPlayState = () => {
    if (!isActive()) return;
    $("play").classList.toggle("playing", !track.audio.paused);
    $("play").setAttribute("aria-label", track.audio.paused ? "Play" : "Pause");
  };
  for (const event of ["play", "pause", "ended"]) track.audio.addEventListener(event, showPlayState);
  track.audio.addEventListener("play", () => !reducedMotion.matches && followPlayback(track));
  track.audio.addEventListener("timeupdate", () => isActive() && !track.audio.paused && moveTo(track.audio.currentTime));
  track.audio.addEventListener("ended", () => isActive() && moveTo(lengthOf(track)));
  for (const event of ["loadedmetadata", "error"]) track.audio.addEventListener(event, refresh);
}

function followPlayback(track) {
  if (tracks[activeSlot] !== track || track.audio.paused) return;
  moveTo(track.audio.currentTime);
  requestAnimationFrame(() => followPlayback(track));
}

function moveTo(to) {
  time = to;
  curves.move(time);
  plane.move(time);
  $("now-time").textContent = clock(time, 1);
  const track = tracks[activeSlot];
  for (const name of ["valence", "arousal"]) {
    const silent = !track?.curve.times_s.length || isOver(track, time);
    $(`now-${name}`).textContent = silent ? "\u2013" : signed(at(track.curve.times_s, track.curve[name], time));
  }
}

function seek(to) {
  const track = tracks[activeSlot];
  if (track?.live) return;
  if (track?.audio?.readyState > 0) track.audio.currentTime = Math.min(to, track.audio.duration);
  moveTo(to);
}

const pause = () => tracks[activeSlot]?.audio?.pause();

function toggle() {
  const audio = tracks[activeSlot]?.audio;
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
  const playing = !tracks[activeSlot].audio.paused;
  pause();
  activeSlot = target.value;
  $("play").classList.remove("playing");
  refresh();
  if (playing) toggle();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || event.target.closest("button, a, input, select, summary, dialog, .scroll")) return;
  if (!$("result").getClientRects().length) return; // There is no result, or another tab is shown.
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
    showError("The model's card could not be read", new Error("Check that the service is still running, then try again."));
    return;
  }
  const body = [node("p", card.summary ?? "")];
  if (card.limits?.length) {
    body.push(node("h3", "Limits"), node("ul", "", ...card.limits.map((limit) => node("li", sentence(limit)))));
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
  if (event.target === $("model-card")) $("model-card").close(); // A click beside the dialog.
});

// ------------------------------------------------------------------ light and dark

const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : system.matches);

function showTheme() {
  $("theme").setAttribute("aria-pressed", isDark());
  for (const chart of [curves, plane, intro]) chart.draw();
  document.dispatchEvent(new Event("themechange"));
}
$("theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Then the theme lasts for this visit only.
  }
  showTheme();
});
system.addEventListener("change", showTheme);
showTheme();
