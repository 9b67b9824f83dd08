// Plays sound while it comes from the service.

const AHEAD_SECONDS = 4; // So much is handed to the browser before it is due.
const LEAD_SECONDS = 0.12; // From the call to the first sound.
const FULL_SCALE = 32768;

/** Tells of "state": it plays, is paused, waits for sound, or has ended. */
export class StreamPlayer extends EventTarget {
  rate = 44_100;
  blocks = []; // { start, samples }: the first sample's number, and 16-bit samples.
  length = 0; // Samples so far.
  complete = false;
  playing = false;
  at = 0; // Seconds; where it was stopped.
  sources = new Set();

  /** Forget everything; a new piece comes. Call this while the user clicks: the browser then allows sound. */
  reset(rate) {
    this.stopSources();
    Object.assign(this, { rate, blocks: [], length: 0, complete: false, playing: false, at: 0 });
    this.context ??= new AudioContext({ sampleRate: rate });
    this.context.resume();
    this.tell();
  }

  tell() {
    this.dispatchEvent(new Event("state"));
  }

  /** Seconds of sound so far. */
  get seconds() {
    return this.length / this.rate;
  }

  /** Where the music is, in seconds. */
  get time() {
    return this.playing ? Math.min(Math.max(this.context.currentTime - this.origin, this.at), this.seconds) : this.at;
  }

  /** Take the next 16-bit samples. */
  push(samples) {
    this.blocks.push({ start: this.length, samples });
    this.length += samples.length;
    this.fill();
  }

  /** No more samples follow. */
  end() {
    this.complete = true;
  }

  play(from = this.at) {
    this.stopSources();
    this.at = this.complete && from >= this.seconds - 0.05 ? 0 : Math.max(0, from);
    this.playing = true;
    this.origin = this.context.currentTime + LEAD_SECONDS - this.at;
    this.next = Math.max(0, this.blocks.findIndex(({ start, samples }) => start + samples.length > this.at * this.rate));
    this.context.resume();
    this.timer ??= setInterval(() => this.fill(), 100);
    this.fill();
    this.tell();
  }

  pause() {
    this.at = this.time;
    this.playing = false;
    this.stopSources();
    this.tell();
  }

  seek(time) {
    if (this.playing) this.play(Math.min(time, this.seconds));
    else {
      this.at = Math.min(time, this.seconds);
      this.tell();
    }
  }

  stopSources() {
    clearInterval(this.timer);
    this.timer = null;
    for (const source of this.sources) source.stop();
    this.sources.clear();
  }

  /** Hand the blocks that are due soon to the browser. */
  fill() {
    if (!this.playing) return;
    const { context, rate } = this;
    if (this.complete && context.currentTime - this.origin >= this.seconds) {
      this.pause();
      this.at = this.seconds;
      this.tell();
      return;
    }
    while (this.next < this.blocks.length) {
      const { start, samples } = this.blocks[this.next];
      const skip = Math.max(0, Math.round(this.at * rate) - start);
      let when = this.origin + (start + skip) / rate;
      if (when > context.currentTime + AHEAD_SECONDS) return;
      if (when < context.currentTime) {
        // The service was late: the music waits for it.
        this.at = Math.min(this.time, (start + skip) / rate);
        this.origin += context.currentTime + LEAD_SECONDS - when;
        when = context.currentTime + LEAD_SECONDS;
      }
      this.next += 1;
      if (skip >= samples.length) continue;
      const buffer = context.createBuffer(1, samples.length - skip, rate);
      buffer.copyToChannel(Float32Array.from(samples.subarray(skip), (value) => value / FULL_SCALE), 0);
      const source = new AudioBufferSourceNode(context, { buffer });
      source.connect(context.destination);
      source.addEventListener("ended", () => this.sources.delete(source));
      source.start(when);
      this.sources.add(source);
    }
  }
}
