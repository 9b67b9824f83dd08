// The Compose tab: choose a mood or draw a path, hear the piece while it is composed, see its notes
// and what the model hears in it, save it.

import { at, clock, signed } from "./charts.js";
import { MoodPlane } from "./compose-plane.js";
import { StreamPlayer } from "./compose-player.js";
import { Score } from "./compose-score.js";
import { attempt } from "./notices.js";
import { compose, predict } from "./service.js";
import { wav } from "./sound.js";

const HELP = {
  place: "Click a place. With the keyboard: arrow keys.",
  path: "Draw a path: the music follows it from its start to its end. With the keyboard: arrow keys, Enter to add a point, Backspace to remove it.",
};
const POINTS = 40; // Points of a drawn path that are sent.
const START_SECONDS = 0.4; // The music starts once there is so much of it.
const SAID_SECONDS = 5; // Between two sentences about the progress.
const TARGETS = ["valence", "arousal"];

const $ = (id) => document.getElementById(id);
const form = $("compose");
const { generate: generateUrl, predict: predictUrl } = document.body.dataset;
const player = new StreamPlayer();
let kind = "place";
let path = [];
let request = null; // The one that runs.
let piece = null;

const place = () => TARGETS.map((name) => Number(form.elements[name].value) || 0);

// ------------------------------------------------------------------ what is wanted

const plane = new MoodPlane($("compose-plane"), {
  onPlace: (values) => {
    TARGETS.forEach((name, i) => (form.elements[name].value = values[i].toFixed(2)));
    showWanted();
  },
  onDraw: (points) => {
    path = points;
    showWanted();
  },
  onSay: (text) => ($("compose-wanted").textContent = text),
});

function showWanted() {
  plane.show(place(), path);
  $("compose-clear").hidden = kind !== "path" || !path.length;
  const points = `${path.length} ${path.length === 1 ? "point" : "points"}`;
  $("compose-wanted").textContent =
    kind === "place" ? plane.words(place()) : path.length > 1 ? `A path of ${points}` : `A path needs two points; it has ${path.length}.`;
}

$("compose-tool").addEventListener("change", ({ target }) => {
  kind = target.value;
  plane.choose(kind);
  for (const label of form.querySelectorAll(".of-place")) {
    label.hidden = kind === "path";
    label.querySelector("input").disabled = kind === "path";
  }
  $("compose-help").textContent = HELP[kind];
  showWanted();
});
$("compose-clear").addEventListener("click", () => {
  path = [];
  showWanted();
  $("compose-plane").focus();
});
form.addEventListener("input", ({ target }) => {
  if (target.name === "temperature") form.elements["temperature-shown"].value = target.value;
  if (TARGETS.includes(target.name)) showWanted();
});

/** The wanted course over the piece, as the service takes it. */
function wantedCurve(seconds) {
  if (kind === "place") return { times_s: [0], valence: [place()[0]], arousal: [place()[1]] };
  const step = Math.max(1, Math.ceil(path.length / POINTS));
  const kept = path.filter((_, i) => i % step === 0);
  if (kept.at(-1) !== path.at(-1)) kept.push(path.at(-1));
  return {
    times_s: kept.map((_, i) => (i / (kept.length - 1)) * seconds),
    valence: kept.map(([valence]) => valence),
    arousal: kept.map(([, arousal]) => arousal),
  };
}

// ------------------------------------------------------------------ composing

form.addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
$("compose-again").addEventListener("click", () => {
  if (piece) form.elements.seed.value = Number(form.elements.seed.value) + 1;
  if (form.reportValidity()) start();
});
$("compose-stop").addEventListener("click", () => request?.abort());

async function start() {
  if (kind === "path" && path.length < 2) {
    showWanted();
    $("compose-plane").focus();
    return;
  }
  request?.abort();
  const mine = (request = new AbortController());
  const seconds = Number(form.elements.seconds.value);
  const wanted = wantedCurve(seconds);
  const now = { seconds, wanted, seed: Number(form.elements.seed.value), midi: null, wav: null };
  piece = now;
  player.reset(player.rate);
  score.begin(seconds, wanted);
  plane.heard = null;
  $("piece").hidden = false;
  if (matchMedia("(max-width: 980px)").matches) $("piece").scrollIntoView({ block: "nearest" });
  $("piece-heard").textContent = "";
  $("piece-length").textContent = clock(seconds);
  $("compose-stop").hidden = false;
  showFiles();
  showTime();
  say("Composing\u2026");
  const body = { curve: wanted, seconds, seed: now.seed, temperature: Number(form.elements.temperature.value), include: ["audio", "midi"] };
  if (form.elements.generator) body.generator = form.elements.generator.value;
  try {
    await attempt(() => receive(now, body, mine));
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    if (piece === now && !now.midi) say(`Stopped. ${score.notes.length} notes.`);
  } finally {
    if (request === mine) {
      request = null;
      $("compose-stop").hidden = true;
      player.end();
      if (piece === now && !now.midi && $("piece-status").textContent.startsWith("Composing")) say("This piece could not be finished.");
    }
  }
}

async function receive(now, body, { signal }) {
  let done = null;
  for await (const records of compose(generateUrl, body, signal)) {
    for (const record of records) {
      if (record.sound) takeSound(record.sound);
      else if (record.done) done = record.done;
    }
    score.add(records.filter((record) => record.pitch !== undefined));
    // In steps: who hears the page read aloud is not told of every note.
    const last = score.notes.at(-1)?.start_s ?? 0;
    say(`Composing\u2026 ${clock(last - (last % SAID_SECONDS))} of ${clock(now.seconds)}`);
  }
  player.end();
  playAtOnce();
  now.midi = bytesOf(done.midi);
  now.wav = wav(player.blocks.map(({ samples }) => samples), done.sample_rate, `${nameOf(now)}.wav`);
  $("compose-stop").hidden = true;
  showFiles();
  say(`${done.notes} notes, composed in ${(done.elapsed_ms / 1000).toFixed(1)} s by ${done.generator}. Number ${done.seed}.`);
  document.body.dataset.composed = done.seed;
  await hear(now, signal);
}

function takeSound({ pcm_s16le: text }) {
  const bytes = bytesOf(text);
  player.push(new Int16Array(bytes.buffer));
  if (player.seconds >= START_SECONDS) playAtOnce();
}

/** Begin to play, unless the user has already paused or gone to another tab. */
function playAtOnce() {
  if (!player.playing && !player.at && document.body.dataset.tab === "compose") player.play();
}

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function say(text) {
  if ($("piece-status").textContent !== text) $("piece-status").textContent = text;
}

/** Ask the model of this page what it hears in the piece. */
async function hear(now, signal) {
  const heard = { times_s: [], valence: [], arousal: [] };
  const model = $("model").value;
  await predict(`${predictUrl}?${new URLSearchParams({ model })}`, now.wav, {
    onUpload: () => {},
    onFrames: (frames) => {
      for (const frame of frames) {
        if (frame.time_s > now.seconds) continue;
        heard.times_s.push(frame.time_s);
        for (const name of TARGETS) heard[name].push(frame[name]);
      }
    },
    signal,
  });
  if (piece !== now || !heard.times_s.length) return;
  score.heard = heard;
  score.draw();
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const wantedMean = (name) => mean(heard.times_s.map((time) => at(now.wanted.times_s, now.wanted[name], time)));
  const parts = TARGETS.map((name) => `${name} ${signed(mean(heard[name]))} (wanted ${signed(wantedMean(name))})`);
  $("piece-heard").textContent = `On average the model ${model} hears ${parts.join(" and ")}.`;
  document.body.dataset.heard = now.seed;
  showTime();
}

// ------------------------------------------------------------------ playing

const score = new Score($("score"), (time) => {
  player.seek(time);
  showTime();
});

function showTime() {
  const time = Math.min(player.time, piece?.seconds ?? 0);
  $("piece-time").textContent = clock(time);
  score.move(time);
  plane.heard = score.heard ? TARGETS.map((name) => at(score.heard.times_s, score.heard[name], time)) : null;
  plane.move();
}

function tick() {
  showTime();
  if (player.playing) requestAnimationFrame(tick);
}

player.addEventListener("state", () => {
  $("piece-play").classList.toggle("playing", player.playing);
  $("piece-play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
  if (player.playing) requestAnimationFrame(tick);
  else showTime();
});
$("piece-play").addEventListener("click", () => (player.playing ? player.pause() : player.play()));
$("score").addEventListener("keydown", (event) => {
  if (event.key !== " ") return;
  event.preventDefault();
  $("piece-play").click();
});
document.addEventListener("tabshown", ({ detail }) => {
  // The other tabs have their own sound.
  if (detail !== "compose" && player.playing) player.pause();
});

// ------------------------------------------------------------------ files

const nameOf = ({ seed }) => `piece-${seed}`;

function showFiles() {
  $("piece-midi").disabled = !piece?.midi;
  $("piece-wav").disabled = !piece?.wav;
}

function save(blob, name) {
  const anchor = document.createElement("a");
  anchor.download = name;
  anchor.href = URL.createObjectURL(blob);
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
}

$("piece-midi").addEventListener("click", () => save(new Blob([piece.midi], { type: "audio/midi" }), `${nameOf(piece)}.mid`));
$("piece-wav").addEventListener("click", () => save(piece.wav, `${nameOf(piece)}.wav`));

// ------------------------------------------------------------------ start

document.addEventListener("themechange", () => {
  plane.draw();
  score.draw();
});
$("compose-help").textContent = HELP.place;
plane.choose("place");
showWanted();
document.body.dataset.composeReady = "true";
