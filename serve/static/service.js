// Requests to the service: files, with their progress and frames, and live audio.

const CHUNK_SECONDS = 0.5;

/** An error to show to the user: what is wrong and what to do. */
export class Problem extends Error {
  constructor({ status = 0, detail, field, request_id: id }, retryAfter = 0) {
    super(sentence(detail, field));
    Object.assign(this, { status, id, retryAfter });
  }

  /** Whether the same request may succeed later. */
  get passes() {
    return [0, 408, 429, 503, 507].includes(this.status);
  }
}

export const UNREACHED = { detail: "The service did not answer. Check that it is still running, then try again." };

/** The detail as a sentence, without the name of the field: on the page there is only one. */
function sentence(detail, field) {
  const text = detail.startsWith(`${field}: `) ? detail.slice(field.length + 2) : detail;
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

export function readProblem(status, text, retryAfter) {
  try {
    return new Problem(JSON.parse(text), Number(retryAfter) || 0);
  } catch {
    // For instance the error page of a proxy.
    return new Problem({ status, detail: `the service answered with status ${status}; try again later` });
  }
}

/**
 * Predict a file.
 *
 * This uses XMLHttpRequest because fetch does not report the progress of an upload.
 *
 * @param {string} url
 * @param {Blob} file
 * @param {{onUpload: Function, onFrames: Function, signal: AbortSignal}} options
 *   `onUpload` gets the part that is sent, from 0 to 1. `onFrames` gets new frames.
 * @returns {Promise<object>} the summary of the whole file.
 */
export function predict(url, file, { onUpload, onFrames, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("file", file, "file");
    let done = null;
    let failed = null;
    let seen = 0;
    const take = () => {
      if (request.status !== 200) return;
      const end = request.responseText.lastIndexOf("\n") + 1;
      const records = [];
      for (const line of request.responseText.slice(seen, end).split("\n")) {
        if (!line) continue;
        const record = JSON.parse(line);
        if (record.done) done = record.done;
        else if (record.error) failed = new Problem(record.error);
        else records.push(record);
      }
      seen = end;
      if (records.length) onFrames(records);
    };
    request.upload.addEventListener("progress", ({ loaded, total }) => onUpload(loaded / total));
    request.addEventListener("progress", take);
    request.addEventListener("load", () => {
      if (request.status !== 200) {
        reject(readProblem(request.status, request.responseText, request.getResponseHeader("Retry-After")));
        return;
      }
      take();
      if (done) resolve(done);
      else reject(failed ?? new Problem({ detail: "The answer ended too early. Try again." }));
    });
    request.addEventListener("error", () => reject(new Problem(UNREACHED)));
    request.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.open("POST", url);
    request.setRequestHeader("Accept", "application/x-ndjson");
    request.send(form);
  });
}

/**
 * Compose a piece.
 *
 * @param {string} url
 * @param {object} body what to compose
 * @param {AbortSignal} signal
 * @yields {object[]} records as they come: notes, parts of the sound, at last `done`.
 */
export async function* compose(url, body, signal) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal };
  const lost = (error) => (error.name === "AbortError" ? error : new Problem(UNREACHED));
  const response = await fetch(url, options).catch((error) => {
    throw lost(error);
  });
  if (!response.ok) throw readProblem(response.status, await response.text(), response.headers.get("Retry-After"));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let done = false;
  for (;;) {
    const { value, done: end } = await reader.read().catch((error) => {
      throw lost(error);
    });
    if (end) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    const records = lines.map((line) => JSON.parse(line));
    const failed = records.find((record) => record.error);
    if (failed) throw new Problem(failed.error);
    done ||= records.some((record) => record.done);
    if (records.length) yield records;
  }
  if (!done) throw new Problem({ detail: "The answer ended too early. Try again." });
}

/** Live audio: one request at a time, each with the state of the previous answer. */
export class Live {
  constructor(url, { model, rate, maxSeconds, onFrames, onProblem }) {
    this.url = (final) =>
      `${url}?${new URLSearchParams({ model, rate, format: "s16le", ...(final && { final: true }) })}`;
    Object.assign(this, { rate, onFrames, onProblem });
    this.most = Math.floor(Math.min(4, maxSeconds) * rate);
    this.waiting = [];
    this.length = 0;
    this.state = null;
    this.failed = false;
    this.work = Promise.resolve();
    this.busy = false;
  }

  /** Take 16-bit samples. They are sent once there are enough of them. */
  push(samples) {
    this.waiting.push(samples);
    this.length += samples.length;
    if (!this.busy && this.length >= CHUNK_SECONDS * this.rate) this.work = this.send();
  }

  /** Send the remaining samples and get the remaining frames. */
  async finish() {
    await this.work;
    if (!this.failed) await this.send(true);
  }

  async send(final = false) {
    this.busy = true;
    try {
      do {
        const all = new Int16Array(await new Blob(this.waiting.splice(0)).arrayBuffer());
        const chunk = all.subarray(0, this.most);
        const rest = all.subarray(this.most);
        if (rest.length) this.waiting.unshift(rest);
        this.length -= chunk.length;
        const last = final && !rest.length;
        if (chunk.length || last) await this.post(chunk, last);
      } while (!this.failed && (final ? this.length : this.length >= CHUNK_SECONDS * this.rate));
    } catch (error) {
      this.failed = true;
      this.onProblem(error);
    } finally {
      this.busy = false;
    }
  }

  async post(chunk, final) {
    const form = new FormData();
    if (chunk.length) form.append("chunk", new Blob([chunk]), "chunk");
    if (this.state) form.append("state", this.state);
    let response;
    for (let attempt = 0; ; attempt++) {
      try {
        response = await fetch(this.url(final), { method: "POST", body: form });
      } catch {
        throw new Problem(UNREACHED);
      }
      if (response.ok) break;
      const problem = readProblem(response.status, await response.text(), response.headers.get("Retry-After"));
      if (!problem.passes || attempt === 3) throw problem;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (problem.retryAfter || 1)));
    }
    const { state, ...answer } = await response.json();
    this.state = state;
    this.onFrames(answer);
  }
}
