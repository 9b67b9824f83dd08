// The page: take a file, ask the service, show the answer and follow the music.

import { PlaneChart, TimeChart, at, clock, signed } from "./charts.js";

const $ = (id) => document.getElementById(id);
const { predict: predictUrl, maxBytes } = document.body.dataset;
const audio = $("audio");
const curves = new TimeChart($("curves"), seek);
const plane = new PlaneChart($("plane"));

let data = null; // The answer that is shown.
let chosen = null; // The file it is about.
let running = null; // AbortController of the question under way.
let links = []; // Object URLs to give back when the next answer comes.

// ------------------------------------------------------------------ choosing

$("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = ""; // So that choosing the same file again asks again.
  if (file) analyse(file);
});

$("model").addEventListener("change", () => chosen && analyse(chosen));
$("form").addEventListener("submit", (event) => event.preventDefault());
$("cancel").addEventListener("click", () => running?.abort());

// The whole page takes a drop: a file that misses the frame must not replace the page.
let depth = 0;
const hover = (change) => {
  depth = Math.max(0, depth + change);
  $("drop").classList.toggle("over", depth > 0);
};
document.addEventListener("dragenter", () => hover(1));
document.addEventListener("dragleave", () => hover(-1));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  hover(-depth);
  const { files } = event.dataTransfer;
  if (files.length > 1) fail("One file at a time", "Drop a single audio file.");
  else if (files.length) analyse(files[0]);
});

// ------------------------------------------------------------------ asking

async function analyse(file) {
  running?.abort();
  const request = new AbortController();
  running = request;
  chosen = file;
  audio.pause();
  $("error").hidden = true;
  if (file.size > Number(maxBytes)) {
    running = null;
    fail(
      "This file is too large",
      `${file.name} has ${megabytes(file.size)} MB; up to ${megabytes(maxBytes)} MB are accepted. ` +
        "Send a shorter excerpt or a compressed format such as MP3.",
    );
    return;
  }
  state("busy", `Listening to ${file.name}`);
  const form = new FormData();
  form.append("file", file);
  try {
    const response = await fetch(`${predictUrl}?${new URLSearchParams({ model: $("model").value })}`, {
      method: "POST",
      body: form,
      headers: { Accept: "application/json" },
      signal: request.signal,
    });
    const answer = await response.json();
    if (!response.ok) {
      fail("This file could not be analysed", answer.detail, answer.request_id);
      return;
    }
    show(answer, file);
  } catch (error) {
    if (running !== request) return; // Another file was chosen meanwhile.
    if (error.name === "AbortError") state("idle", "");
    else fail("The service did not answer", "Check that it is still running, then try again.");
  } finally {
    if (running === request) running = null;
    $("cancel").hidden = !running;
  }
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(1).replace(/\.0$/, "");

function state(name, text) {
  $("main").dataset.state = name;
  $("main").classList.toggle("has-result", data !== null);
  $("result").hidden = data === null; // An earlier answer stays until there is a new one.
  $("status").textContent = text;
  $("cancel").hidden = name !== "busy";
}

function fail(title, detail, id) {
  data = null;
  audio.pause();
  state("idle", "");
  $("error").hidden = false;
  $("error-title").textContent = title;
  $("error-detail").textContent = detail;
  $("error-id").textContent = id ? `Request ${id}` : "";
}

// ------------------------------------------------------------------ showing

function show(answer, file) {
  data = answer;
  state("idle", "");
  $("result-title").textContent = file.name;
  $("words").textContent = data.quadrant.words;
  $("quadrant").textContent = data.quadrant.name;
  $("mean-valence").textContent = signed(data.mean.valence);
  $("mean-arousal").textContent = signed(data.mean.arousal);
  $("duration").textContent = clock(data.duration_s, data.duration_s < 10 ? 1 : 0);
  $("elapsed").textContent =
    data.elapsed_ms < 1000 ? `${Math.round(data.elapsed_ms)} ms` : `${(data.elapsed_ms / 1000).toFixed(1)} s`;
  $("card").textContent = data.model;
  $("card").href = data.card;
  $("no-audio").hidden = true;
  audio.hidden = false;
  links.forEach((link) => URL.revokeObjectURL(link));
  links = [];
  audio.src = link(file);
  const stem = file.name.replace(/\.[^.]*$/, "");
  offer($("csv"), `${stem}.csv`, "text/csv", table(data));
  offer($("json"), `${stem}.json`, "application/json", `${JSON.stringify(data, null, 2)}\n`);
  curves.show(data);
  plane.show(data);
  move(0);
  describe(data.card);
  $("result").focus({ preventScroll: true });
  scrollTo({ top: 0 });
}

const link = (blob) => {
  links.push(URL.createObjectURL(blob));
  return links.at(-1);
};

function offer(anchor, name, type, text) {
  anchor.download = name;
  anchor.href = link(new Blob([text], { type }));
}

const table = ({ times_s: times, valence, arousal }) =>
  ["time_s,valence,arousal", ...times.map((t, i) => `${t.toFixed(1)},${valence[i]},${arousal[i]}`), ""].join("\n");

async function describe(url) {
  $("about").hidden = true;
  try {
    const card = await (await fetch(url)).json();
    if (data.card !== url) return;
    $("card").textContent = card.title;
    $("about-summary").textContent = card.summary ?? "";
    $("about-limits").replaceChildren(
      ...(card.limits ?? []).map((limit) => {
        const item = document.createElement("li");
        item.textContent = limit;
        return item;
      }),
    );
    $("about").hidden = !(card.summary || card.limits?.length);
  } catch {
    // The link to the card stays; only the excerpt is missing.
  }
}

// ------------------------------------------------------------------ following the music

function move(time) {
  curves.move(time);
  plane.move(time);
  $("now-time").textContent = clock(time, 1);
  for (const name of ["valence", "arousal"]) {
    $(`now-${name}`).textContent = signed(at(data.times_s, data[name], time));
  }
}

function seek(time) {
  if (!audio.hidden && audio.readyState > 0) audio.currentTime = time;
  move(time);
}

const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches;

function follow() {
  if (audio.paused) return;
  move(audio.currentTime);
  requestAnimationFrame(follow);
}

audio.addEventListener("play", () => smooth && follow());
audio.addEventListener("timeupdate", () => data && audio.readyState > 0 && move(audio.currentTime));
audio.addEventListener("error", () => {
  audio.hidden = true;
  $("no-audio").hidden = false;
});
