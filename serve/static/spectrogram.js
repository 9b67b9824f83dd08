// Mel spectrogram in decibels, of whole audio or block by block.

export const BANDS = 96;
export const [LOW_HZ, HIGH_HZ] = [40, 8000];
export const RANGE_DB = 75;
const WINDOW_SECONDS = 0.1; // Minimum; the transform needs a power of two.
const FLOOR = 1e-10;

/** Hz to mel, as O'Shaughnessy (1987), Speech Communication: Human and Machine. */
export const mel = (hz) => 2595 * Math.log10(1 + hz / 700);
const hertz = (mels) => 700 * (10 ** (mels / 2595) - 1);

/** Position of a frequency in the picture: 0 at the lower edge, 1 at the upper edge. */
export const heightOf = (hz) => (mel(hz) - mel(LOW_HZ)) / (mel(HIGH_HZ) - mel(LOW_HZ));
export const frequencyAt = (height) => hertz(mel(LOW_HZ) + height * (mel(HIGH_HZ) - mel(LOW_HZ)));

/** Power spectrum of real input by a radix-2 fast Fourier transform. */
class Fourier {
  constructor(size) {
    this.size = size;
    this.re = new Float32Array(size);
    this.im = new Float32Array(size);
    this.cos = Float32Array.from({ length: size / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / size));
    this.sin = Float32Array.from({ length: size / 2 }, (_, i) => -Math.sin((2 * Math.PI * i) / size));
    const bits = Math.log2(size);
    this.order = Uint32Array.from({ length: size }, (_, i) => {
      let reversed = 0;
      for (let bit = 0; bit < bits; bit++) reversed |= ((i >> bit) & 1) << (bits - 1 - bit);
      return reversed;
    });
  }

  power(input, output) {
    const { size, re, im, cos, sin, order } = this;
    for (let i = 0; i < size; i++) re[order[i]] = input[i];
    im.fill(0);
    for (let half = 1; half < size; half *= 2) {
      const stride = size / (2 * half);
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0; k < half; k++) {
          const [i, j, turn] = [start + k, start + k + half, k * stride];
          const x = re[j] * cos[turn] - im[j] * sin[turn];
          const y = re[j] * sin[turn] + im[j] * cos[turn];
          re[j] = re[i] - x;
          im[j] = im[i] - y;
          re[i] += x;
          im[i] += y;
        }
      }
    }
    for (let i = 0; i <= size / 2; i++) output[i] = re[i] * re[i] + im[i] * im[i];
  }
}

export class Spectrogram {
  /**
   * @param {number} rate Sample rate in Hz.
   * @param {number} seconds Length of a column. A long column is the mean of several windows.
   */
  constructor(rate, seconds) {
    this.seconds = seconds;
    this.windows = Math.max(1, Math.round(seconds / WINDOW_SECONDS));
    this.hop = (seconds * rate) / this.windows; // May be fractional; positions are rounded.
    const size = 2 ** Math.ceil(Math.log2(WINDOW_SECONDS * rate));
    this.fourier = new Fourier(size);
    this.window = Float32Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
    this.frame = new Float32Array(size);
    this.spectrum = new Float32Array(size / 2 + 1);
    const edges = Array.from({ length: BANDS + 2 }, (_, i) => (frequencyAt(i / (BANDS + 1)) * size) / rate);
    this.filters = Array.from({ length: BANDS }, (_, band) => {
      const [low, middle, high] = edges.slice(band, band + 3);
      const first = Math.min(Math.ceil(low), size / 2);
      const last = Math.min(Math.floor(high), size / 2);
      const weights = [];
      for (let k = first; k <= last; k++) {
        weights.push(Math.min((k - low) / (middle - low), (high - k) / (high - middle)) / (high - low));
      }
      return { first, weights };
    });
    // The first window is centred on the first sample.
    this.rest = new Float32Array(size / 2);
    this.dropped = -size / 2;
    this.nWindows = 0; // Number of windows so far.
    this.sums = new Float32Array(BANDS);
  }

  /** Take samples and return the columns that they complete, each with BANDS values in dB. */
  push(samples) {
    const known = new Float32Array(this.rest.length + samples.length);
    known.set(this.rest);
    known.set(samples, this.rest.length);
    const { size } = this.fourier;
    const columns = [];
    const startOf = (window) => Math.round(window * this.hop) - size / 2 - this.dropped;
    let start = startOf(this.nWindows);
    for (; start + size <= known.length; start = startOf(this.nWindows)) {
      for (let i = 0; i < size; i++) this.frame[i] = known[start + i] * this.window[i];
      this.fourier.power(this.frame, this.spectrum);
      this.filters.forEach(({ first, weights }, band) => {
        for (let k = 0; k < weights.length; k++) this.sums[band] += weights[k] * this.spectrum[first + k];
      });
      this.nWindows += 1;
      if (this.nWindows % this.windows === 0) {
        columns.push(this.sums.map((sum) => 10 * Math.log10(sum / this.windows + FLOOR)));
        this.sums.fill(0);
      }
    }
    start = Math.min(start, known.length);
    this.rest = known.slice(start);
    this.dropped += start;
    return columns;
  }
}
